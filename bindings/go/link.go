//go:build !yokedcache_static

package yokedcache

// #cgo pkg-config: yokedcache
import "C"
