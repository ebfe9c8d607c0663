module github.com/yokedcache/yokedcache-go/httpcache

go 1.21

require github.com/yokedcache/yokedcache-go v0.1.0

replace github.com/yokedcache/yokedcache-go => ..
