package yokedcache

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"encoding/json"
	"os"
	"time"
	"unsafe"
)

// CheckConfig returns the settings that [Open] would use, as one JSON object. It opens nothing: it contacts no
// server and reads no certificate. The members are "backend", "servers", "key_prefix" and the options by name,
// with times in milliseconds ("default_ttl_ms"). "password" is true or false, never the password. "notes" lists
// accepted options that are probably mistakes.
//
// Errors: [ErrConfig], whose message names the option, and [ErrUnsupported], as [Open].
func CheckConfig(config string) (json.RawMessage, error) {
	text, err := newCString(config, "config")
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(text))
	return summary(func(json **C.yc_value, described **C.yc_error) C.yc_status {
		return C.yc_config_check(text, json, described)
	})
}

// CheckConfigFile returns the settings that [OpenFile] would use. Result and errors are those of [CheckConfig];
// [ErrConfig] also reports a file that cannot be read and an environment that the file does not have.
func CheckConfigFile(path, environment string) (text json.RawMessage, err error) {
	failed := withFile(path, environment, func(file, name *C.char) {
		text, err = summary(func(json **C.yc_value, described **C.yc_error) C.yc_status {
			return C.yc_config_check_file(file, name, json, described)
		})
	})
	if failed != nil {
		return nil, failed
	}
	return text, err
}

// Calls use with the path of a file and the name of an environment; "" becomes NULL.
func withFile(path, environment string, use func(file, name *C.char)) error {
	file, err := newCString(path, "path")
	if err != nil {
		return err
	}
	defer C.free(unsafe.Pointer(file))
	name, err := newCString(environment, "environment")
	if err != nil {
		return err
	}
	defer C.free(unsafe.Pointer(name))
	if environment == "" {
		use(file, nil)
	} else {
		use(file, name)
	}
	return nil
}

func summary(check func(**C.yc_value, **C.yc_error) C.yc_status) (json.RawMessage, error) {
	var described *C.yc_error
	if status := C.yc_check_abi(C.YC_VERSION_NUMBER, &described); status != C.YC_OK {
		return nil, failure(status, described)
	}
	var text *C.yc_value
	if status := check(&text, &described); status != C.YC_OK {
		return nil, failure(status, described)
	}
	defer C.yc_value_free(text)
	var length C.size_t
	data := C.yc_value_data(text, &length)
	return C.GoBytes(data, C.int(length)), nil
}

// The times of a configuration that loads need.
type loadTimes struct {
	lease time.Duration // The time of a lease.
	call  time.Duration // The deadline of a call.
}

// Reads the times from the summary of a configuration that was opened.
func timesOf(text json.RawMessage, err error) *loadTimes {
	members := struct {
		Lease int64 `json:"lease_ms"`
		Call  int64 `json:"socket_timeout_ms"`
	}{10000, 1000}
	if err == nil {
		_ = json.Unmarshal(text, &members)
	}
	return &loadTimes{time.Duration(members.Lease) * time.Millisecond, time.Duration(members.Call) * time.Millisecond}
}

// Returns the summary of the configuration that OpenEnv opens.
func checkEnv() (json.RawMessage, error) {
	if url := os.Getenv("YOKEDCACHE_URL"); url != "" {
		return CheckConfig(url)
	}
	if file := os.Getenv("YOKEDCACHE_CONFIG"); file != "" {
		return CheckConfigFile(file, "")
	}
	return CheckConfig(os.Getenv("REDIS_URL"))
}
