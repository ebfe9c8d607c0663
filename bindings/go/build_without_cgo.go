//go:build !cgo

package yokedcache

// The binding calls a C library. The name below does not exist: the error of the compiler shows it.
var _ = needs_cgo__set_CGO_ENABLED_1_and_install_a_C_compiler
