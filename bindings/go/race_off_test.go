//go:build !race

package yokedcache_test

const raceEnabled = false
