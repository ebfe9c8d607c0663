module github.com/yokedcache/yokedcache-go/examples/cloud

go 1.23

require (
	github.com/Azure/azure-sdk-for-go/sdk/internal v1.5.2 // indirect
	github.com/aws/smithy-go v1.20.2 // indirect
	golang.org/x/net v0.22.0 // indirect
	golang.org/x/text v0.14.0 // indirect
)

require (
	github.com/Azure/azure-sdk-for-go/sdk/azcore v1.11.1
	github.com/aws/aws-sdk-go-v2 v1.30.0
	github.com/yokedcache/yokedcache-go v0.1.0
	golang.org/x/oauth2 v0.20.0
)

replace github.com/yokedcache/yokedcache-go => ../..
