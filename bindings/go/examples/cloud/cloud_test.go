package cloud

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/oauth2"
)

func TestElastiCacheSignsARequestToConnect(t *testing.T) {
	keys := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}, nil
	})
	given, err := ElastiCache(ElastiCacheUser{Region: "eu-central-1", Cache: "orders", Serverless: true, User: "app", Provider: keys})(context.Background())
	if err != nil || given.Username != "app" || given.ValidFor != 15*time.Minute {
		t.Fatal(given.Username, given.ValidFor, err)
	}
	token, err := url.Parse("http://" + given.Password)
	if err != nil || token.Host != "orders" || token.Path != "/" {
		t.Fatal(token, err)
	}
	query := token.Query()
	for name, value := range map[string]string{"Action": "connect", "User": "app", "ResourceType": "ServerlessCache",
		"X-Amz-Expires": "900", "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Security-Token": "session", "X-Amz-SignedHeaders": "host"} {
		if query.Get(name) != value {
			t.Errorf("%s is %q", name, query.Get(name))
		}
	}
	if len(query.Get("X-Amz-Signature")) != 64 {
		t.Error("there is no signature")
	}
}

type azure struct{ scopes []string }

func (azure *azure) GetToken(_ context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	azure.scopes = options.Scopes
	return azcore.AccessToken{Token: "token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestAzureAsksForATokenOfRedis(t *testing.T) {
	identity := &azure{}
	given, err := Azure(identity, "id")(context.Background())
	if err != nil || given.Username != "id" || given.Password != "token" || given.ValidFor < 59*time.Minute {
		t.Fatal(given, err)
	}
	if len(identity.scopes) != 1 || identity.scopes[0] != "https://redis.azure.com/.default" {
		t.Error(identity.scopes)
	}
}

func TestMemorystoreTakesAnAccessToken(t *testing.T) {
	source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "token", Expiry: time.Now().Add(-time.Hour)})
	given, err := Memorystore(source)(context.Background())
	if err != nil || given.Username != "" || given.Password != "token" || given.ValidFor != time.Millisecond {
		t.Fatal(given, err)
	}
	if given, _ = Memorystore(oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "t"}))(context.Background()); given.ValidFor != 0 {
		t.Error(given.ValidFor)
	}
}
