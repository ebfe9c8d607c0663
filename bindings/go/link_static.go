//go:build yokedcache_static

package yokedcache

// #cgo pkg-config: yokedcache-static
import "C"
