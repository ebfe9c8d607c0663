module github.com/yokedcache/yokedcache-aside-bench

go 1.26.0

require (
	github.com/redis/rueidis v1.0.79
	github.com/redis/rueidis/rueidisaside v1.0.79
)
