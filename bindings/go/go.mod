module github.com/yokedcache/yokedcache-go

go 1.21
