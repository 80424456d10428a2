package receive_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
	"testing"

	"github.com/gitopskit/gitopskit/events/receive"
)

const secret = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"

// fixture is a webhook as its platform documents it, without what proves who sent it.
type fixture struct {
	name     string
	receiver receive.Receiver
	header   map[string]string
	body     string
	want     receive.Request // event, id and the facts
	known    bool            // whether a second one of it is known
}

const (
	sha    = "9f3c1b7d2a4e5f60718293a4b5c6d7e8f9012345"
	imgSHA = "sha256:6d2b1f0c9e8d7c6b5a49382716f5e4d3c2b1a0918273645546372819fedcba98"
)

const githubPush = `{"ref":"refs/heads/main","before":"0000000000000000000000000000000000000000","after":"` + sha + `",
"repository":{"id":186853002,"name":"shop","full_name":"acme/shop","private":false,"pushed_at":1730000000,"clone_url":"https://github.com/acme/shop.git"},
"pusher":{"name":"mona","email":"mona@example.com"},"created":false,"deleted":false,"forced":false,"base_ref":null,
"commits":[{"id":"` + sha + `","message":"Roll out","timestamp":"2026-08-01T12:00:00Z","added":[],"removed":[],"modified":["deploy.yaml"]}],
"head_commit":{"id":"` + sha + `"}}`

const gitlabPush = `{"object_kind":"push","event_name":"push","before":"95790bf891e76fee5e1747ab589903a6a1f80f22","after":"` + sha + `",
"ref":"refs/heads/main","checkout_sha":"` + sha + `","user_id":4,"user_name":"Jo","project_id":15,
"project":{"id":15,"name":"Shop","path_with_namespace":"acme/shop","default_branch":"main","git_http_url":"https://gitlab.example.com/acme/shop.git"},
"commits":[{"id":"` + sha + `","message":"Roll out","timestamp":"2026-08-01T12:00:00+00:00"}],"total_commits_count":1}`

const bitbucketServer = `{"eventKey":"repo:refs_changed","date":"2026-08-01T12:00:00+0000","actor":{"name":"admin","id":1},
"repository":{"slug":"shop","id":84,"name":"shop","scmId":"git","state":"AVAILABLE","project":{"key":"ACME","id":1,"name":"Acme"},"public":false},
"changes":[{"ref":{"id":"refs/heads/main","displayId":"main","type":"BRANCH"},"refId":"refs/heads/main",
"fromHash":"ecddabb624f6f5ba43816f5926e580a5f680a932","toHash":"` + sha + `","type":"UPDATE"}]}`

const bitbucketCloud = `{"actor":{"type":"user","display_name":"Jo"},"repository":{"type":"repository","name":"shop","full_name":"acme/shop","uuid":"{b1}"},
"push":{"changes":[{"new":{"type":"branch","name":"main","target":{"type":"commit","hash":"` + sha + `","date":"2026-08-01T12:00:00+00:00"}},
"old":{"type":"branch","name":"main","target":{"hash":"1e65c05c1d5171631d92438a13901ca7dae9618c"}},"created":false,"forced":false,"closed":false}]}}`

const harborPush = `{"type":"PUSH_ARTIFACT","occur_at":1730000000,"operator":"admin","event_data":{"resources":[{"digest":"` + imgSHA + `","tag":"1.2.3",
"resource_url":"harbor.example.com/acme/shop:1.2.3"}],"repository":{"date_created":1730000000,"name":"shop","namespace":"acme","repo_full_name":"acme/shop","repo_type":"private"}}}`

const dockerHubPush = `{"callback_url":"https://registry.hub.docker.com/u/acme/shop/hook/2141b5bi5i5b02bec211i4eeih0242eg11000a/",
"push_data":{"pushed_at":1730000000,"pusher":"acme","tag":"1.2.3"},"repository":{"name":"shop","namespace":"acme","owner":"acme","repo_name":"acme/shop",
"repo_url":"https://registry.hub.docker.com/r/acme/shop/","star_count":0,"status":"Active"}}`

const quayPush = `{"name":"shop","repository":"acme/shop","namespace":"acme","docker_url":"quay.io/acme/shop","homepage":"https://quay.io/repository/acme/shop","updated_tags":["1.2.3","latest"]}`

const acrPush = `{"id":"cb8c3971-9adc-488b-bdd8-43cbb4974ff5","timestamp":"2026-08-01T12:00:00.343852Z","action":"push",
"target":{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","size":524,"digest":"` + imgSHA + `","length":524,"repository":"shop","tag":"1.2.3"},
"request":{"id":"3cbb6949-7549-4fa1-86cd-a6d5451dffc7","host":"acme.azurecr.io","method":"PUT","useragent":"docker/27.0.0"}}`

const nexusComponent = `{"timestamp":"2026-08-01T12:00:00.664+0000","nodeId":"52905B51-085CCABB-CEBBEAAD-16795588-FC927D93","initiator":"admin/127.0.0.1",
"repositoryName":"npm-hosted","action":"CREATED","component":{"id":"08909bf0c86cf6c9600aade89e1c5e25","componentId":"bnBt","format":"npm","name":"shop","group":"acme","version":"1.2.3"}}`

const cdEvent = `{"context":{"version":"0.4.1","id":"271069a8-fc18-44f1-b38f-9d70a1695819","source":"/ci/shop","type":"dev.cdevents.artifact.published.0.2.0","timestamp":"2026-08-01T12:00:00Z"},
"subject":{"id":"pkg:oci/shop@` + imgSHA + `","source":"/ci/shop","type":"artifact","content":{}}}`

func gcrPush() string {
	news := `{"action":"INSERT","digest":"gcr.io/acme/shop@` + imgSHA + `","tag":"gcr.io/acme/shop:1.2.3"}`
	return `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(news)) + `","messageId":"136969346945","publishTime":"2026-08-01T12:00:00Z","attributes":{}},
"subscription":"projects/acme/subscriptions/flux"}`
}

func fixtures() []fixture {
	const id = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
	git := func(repo, event string) receive.Request {
		return receive.Request{Event: event, DeliveryID: id, Repository: repo, Ref: "refs/heads/main", Revision: sha}
	}
	image := func(repo, event, id, digest string) receive.Request {
		return receive.Request{Event: event, DeliveryID: id, Repository: repo, Ref: "1.2.3", Revision: digest}
	}
	of := func(t receive.Type) receive.Receiver { return receive.Receiver{Type: t, Secret: []byte(secret)} }
	gcr, oidc := of(receive.GCR), receive.Receiver{Type: receive.GenericOIDC, Issuers: []receive.Issuer{ciIssuer()}}
	gcr.Email, gcr.Audience = "push@acme.iam.gserviceaccount.com", "https://hooks.example.com/gcr"
	return []fixture{
		{"github", of(receive.GitHub), map[string]string{"X-GitHub-Event": "push", "X-GitHub-Delivery": id}, githubPush, git("acme/shop", "push"), true},
		{"gitea", of(receive.Gitea), map[string]string{"X-Gitea-Event": "push", "X-Gitea-Delivery": id}, githubPush, git("acme/shop", "push"), true},
		{"gitlab", of(receive.GitLab), map[string]string{"X-Gitlab-Event": "Push Hook", "Idempotency-Key": id}, gitlabPush, git("acme/shop", "Push Hook"), true},
		{"bitbucket server", of(receive.Bitbucket), map[string]string{"X-Event-Key": "repo:refs_changed", "X-Request-Id": id}, bitbucketServer, git("ACME/shop", "repo:refs_changed"), true},
		{"bitbucket cloud", of(receive.Bitbucket), map[string]string{"X-Event-Key": "repo:push", "X-Request-UUID": id}, bitbucketCloud, git("acme/shop", "repo:push"), true},
		{"harbor", of(receive.Harbor), nil, harborPush, image("acme/shop", "PUSH_ARTIFACT", "", imgSHA), false},
		{"dockerhub", of(receive.DockerHub), nil, dockerHubPush, image("acme/shop", "push", "", ""), false},
		{"quay", of(receive.Quay), nil, quayPush, image("quay.io/acme/shop", "push", "", ""), false},
		{"gcr", gcr, nil, gcrPush(), image("gcr.io/acme/shop", "INSERT", "136969346945", imgSHA), true},
		{"acr", of(receive.ACR), nil, acrPush, image("acme.azurecr.io/shop", "push", "cb8c3971-9adc-488b-bdd8-43cbb4974ff5", imgSHA), true},
		{"nexus", of(receive.Nexus), map[string]string{"X-Nexus-Webhook-Id": "rm:repository:component", "X-Nexus-Webhook-Delivery": id}, nexusComponent, image("npm-hosted", "rm:repository:component", id, ""), true},
		{"cdevents", of(receive.CDEvents), map[string]string{
			"Ce-Specversion": "1.0", "Ce-Id": "271069a8-fc18-44f1-b38f-9d70a1695819", "Ce-Source": "/ci/shop", "Ce-Type": "dev.cdevents.artifact.published.0.2.0",
		}, cdEvent, receive.Request{Event: "dev.cdevents.artifact.published.0.2.0", DeliveryID: "271069a8-fc18-44f1-b38f-9d70a1695819", Repository: "pkg:oci/shop@" + imgSHA}, true},
		{"generic", of(receive.Generic), nil, `{"image":"shop"}`, receive.Request{}, false},
		{"generic-hmac", of(receive.GenericHMAC), nil, `{"image":"shop"}`, receive.Request{}, false},
		{"generic-oidc", oidc, nil, `{"image":"shop"}`, receive.Request{}, false},
	}
}

// fixtureOf returns the fixture of a name.
func fixtureOf(t testing.TB, name string) fixture {
	t.Helper()
	for _, f := range fixtures() {
		if f.name == name {
			return f
		}
	}
	t.Fatalf("no fixture %q", name)
	return fixture{}
}

// request makes a signed request.
func (f fixture) request(t testing.TB, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for k, v := range f.header {
		req.Header.Set(k, v)
	}
	f.prove(t, req.Header, secret, body)
	return req
}

// proof names the header that proves who sent a request, or "" where that is the path.
func (f fixture) proof() string {
	switch f.receiver.Type {
	case receive.GitHub:
		return "X-Hub-Signature-256"
	case receive.Gitea:
		return "X-Gitea-Signature"
	case receive.GitLab:
		return "X-Gitlab-Token"
	case receive.Bitbucket:
		return "X-Hub-Signature"
	case receive.Harbor, receive.GCR, receive.GenericOIDC:
		return "Authorization"
	case receive.Nexus:
		return "X-Nexus-Webhook-Signature"
	case receive.GenericHMAC:
		return "X-Signature"
	default:
		return ""
	}
}

func (f fixture) prove(t testing.TB, h http.Header, secret, body string) {
	t.Helper()
	switch f.receiver.Type {
	case receive.GitHub, receive.Bitbucket, receive.GenericHMAC:
		h.Set(f.proof(), "sha256="+mac(sha256.New, secret, body))
	case receive.Gitea:
		h.Set(f.proof(), mac(sha256.New, secret, body))
	case receive.GitLab, receive.Harbor:
		h.Set(f.proof(), secret)
	case receive.Nexus:
		h.Set(f.proof(), mac(sha1.New, secret, body))
	case receive.GCR:
		h.Set(f.proof(), "Bearer "+google.token(t, googleClaims()))
	case receive.GenericOIDC:
		h.Set(f.proof(), "Bearer "+ci.token(t, ciClaims()))
	default:
	}
}

func mac(newHash func() hash.Hash, secret, body string) string {
	m := hmac.New(newHash, []byte(secret))
	m.Write([]byte(body))
	return hex.EncodeToString(m.Sum(nil))
}

// hmacs are those of "hello" under the secret of the fixtures, by another implementation.
var hmacs = map[string]string{
	"sha1":   "7d420bcf26cc676a750379d93bacac2f9096ddc8",
	"sha224": "58cff88d4c03218edfa929a7a6852f94e98a24cce6fe556a97d0fa67",
	"sha256": "e543d0e5ec138aa5e832cd1299b093562b893756308fa1291b449c51937b0ce0",
	"sha384": "eb19a07a7946691027945c61cf6668574cddec8cd78212458292cfb3166e49a9545127491d8762bf4c1a747b858a51de",
	"sha512": "7e5bcffccd223ea71868dfa922b9742aaf1d9523b98e196e33bfb50954191c39b0574c13f6fe1b8d60a80f0a757f299e08372bf59c58c79e8ad72ea1da164d31",
}
