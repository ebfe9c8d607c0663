module github.com/yokedcache/yokedcache-go-exposition

go 1.21

require (
	github.com/prometheus/client_golang v1.19.1
	github.com/prometheus/client_model v0.6.1
	github.com/prometheus/common v0.55.0
	github.com/yokedcache/yokedcache-go v0.1.0
)

require (
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	google.golang.org/protobuf v1.34.2 // indirect
)

replace github.com/yokedcache/yokedcache-go => ../../../bindings/go
