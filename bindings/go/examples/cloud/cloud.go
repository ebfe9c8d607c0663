// Package cloud supplies the credentials of managed caches from the SDKs of their platforms, for yokedcache.WithCredentials.
package cloud

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	yokedcache "github.com/yokedcache/yokedcache-go"
	"golang.org/x/oauth2"
)

// A Supplier is the function that yokedcache.WithCredentials takes.
type Supplier = func(context.Context) (yokedcache.Credentials, error)

// The time for which ElastiCache accepts a token, the longest that it allows.
const elastiCacheValidity = 15 * time.Minute

// An ElastiCacheUser is a user of IAM authentication at a cache of Amazon ElastiCache.
type ElastiCacheUser struct {
	Region string
	// Cache is the name of the replication group or of the serverless cache, in lower case.
	Cache      string
	Serverless bool
	// User is the id of the user, which is also its name.
	User string
	// Provider has the credentials of AWS: the member Credentials of config.LoadDefaultConfig.
	Provider aws.CredentialsProvider
}

// ElastiCache returns a function that signs a token: a request of the action connect, without its scheme.
func ElastiCache(of ElastiCacheUser) Supplier {
	return func(ctx context.Context) (yokedcache.Credentials, error) {
		keys, err := of.Provider.Retrieve(ctx)
		if err != nil {
			return yokedcache.Credentials{}, err
		}
		query := url.Values{"Action": {"connect"}, "User": {of.User}, "X-Amz-Expires": {"900"}}
		if of.Serverless {
			query.Set("ResourceType", "ServerlessCache")
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+of.Cache+"/?"+query.Encode(), nil)
		if err != nil {
			return yokedcache.Credentials{}, err
		}
		empty := sha256.Sum256(nil)
		signed, _, err := v4.NewSigner().PresignHTTP(ctx, keys, request, hex.EncodeToString(empty[:]), "elasticache", of.Region, time.Now())
		token := strings.TrimPrefix(signed, "http://")
		return yokedcache.Credentials{Username: of.User, Password: token, ValidFor: elastiCacheValidity}, err
	}
}

// The scope of tokens for Azure Managed Redis and Azure Cache for Redis.
const azureScope = "https://redis.azure.com/.default"

// Azure returns a function that gets a token of Microsoft Entra ID. The parameter objectID is the object id of the identity,
// which is its user name; credential is one of the package azidentity, such as DefaultAzureCredential.
func Azure(credential azcore.TokenCredential, objectID string) Supplier {
	return func(ctx context.Context) (yokedcache.Credentials, error) {
		token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{azureScope}})
		if err != nil {
			return yokedcache.Credentials{}, err
		}
		return yokedcache.Credentials{Username: objectID, Password: token.Token, ValidFor: until(token.ExpiresOn)}, nil
	}
}

// Memorystore returns a function that gets an access token for IAM authentication of Memorystore for Valkey or for Redis
// Cluster. The parameter source is that of google.DefaultTokenSource with the scope
// "https://www.googleapis.com/auth/cloud-platform".
func Memorystore(source oauth2.TokenSource) Supplier {
	return func(context.Context) (yokedcache.Credentials, error) {
		token, err := source.Token()
		if err != nil {
			return yokedcache.Credentials{}, err
		}
		return yokedcache.Credentials{Password: token.AccessToken, ValidFor: until(token.Expiry)}, nil
	}
}

// Returns the time until a token expires; 0, which is for ever, if it does not.
func until(expiry time.Time) time.Duration {
	if expiry.IsZero() {
		return 0
	}
	return max(time.Until(expiry), time.Millisecond)
}
