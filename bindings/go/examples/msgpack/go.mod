module github.com/yokedcache/yokedcache-go/examples/msgpack

go 1.21

require (
	github.com/vmihailenco/msgpack/v5 v5.4.1
	github.com/yokedcache/yokedcache-go v0.1.0
)

require github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect

replace github.com/yokedcache/yokedcache-go => ../..
