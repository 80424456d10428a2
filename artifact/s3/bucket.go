package s3

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/gitopskit/gitopskit/artifact"
)

// Options say where a bucket is, and who asks. Endpoint and Bucket are needed.
type Options struct {
	// Endpoint is the URL of the server, such as https://s3.amazonaws.com. With
	// http all that is stored can be read on the way.
	Endpoint string
	// Region that requests are signed for. Default us-east-1.
	Region string
	Bucket string
	// Prefix of all keys, such as "cluster-1/": small letters, digits, "-" and ".",
	// with slashes between and a slash at the end. Several stores can share a bucket.
	Prefix string
	// Credentials are asked for before each request, so that they can change; see
	// [Static]. Nil sends requests that are not signed.
	Credentials func(context.Context) (Credentials, error)
	// Transport makes the connections: for a proxy, a CA or a client certificate.
	// Nil means one of the bucket's own, without a proxy.
	Transport http.RoundTripper
}

// Credentials are what a request is signed with.
type Credentials struct {
	AccessKey    string
	SecretKey    string
	SessionToken string // of temporary credentials; may be empty
}

// String hides the credentials.
func (c Credentials) String() string { return "(credentials)" }

// GoString hides the credentials.
func (c Credentials) GoString() string { return c.String() }

// Static returns credentials that stay.
func Static(c Credentials) func(context.Context) (Credentials, error) {
	return func(context.Context) (Credentials, error) { return c, nil }
}

// Bucket is an artifact.Backend. It keeps connections, and is safe for concurrent
// use.
type Bucket struct {
	opts   Options
	base   string // URL with the bucket, and a slash
	client *http.Client
	now    func() time.Time
}

var _ artifact.Backend = (*Bucket)(nil)

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionName = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
)

// New returns a bucket, which has to exist. It asks the server nothing.
func New(opts Options) (*Bucket, error) {
	opts.Region = cmp.Or(opts.Region, "us-east-1")
	u, err := url.Parse(opts.Endpoint)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		// What is wrong with it may be a password.
		return nil, &OptionsError{"Endpoint", "not a URL such as https://s3.amazonaws.com"}
	case !bucketName.MatchString(opts.Bucket):
		return nil, &OptionsError{"Bucket", "not the name of a bucket: 3 to 63 small letters, digits, \"-\" and \".\""}
	case !regionName.MatchString(opts.Region):
		return nil, &OptionsError{"Region", "not a region such as eu-central-1"}
	case opts.Prefix != "" && (len(opts.Prefix) > 512 || !strings.HasSuffix(opts.Prefix, "/") || checkPrefix(opts.Prefix) != nil):
		return nil, &OptionsError{"Prefix", "not small letters, digits, \"-\" and \".\" with a slash at the end"}
	}
	if opts.Transport == nil {
		opts.Transport = &http.Transport{
			ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: time.Minute,
			IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 16, MaxResponseHeaderBytes: 64 << 10,
		}
	}
	client := &http.Client{
		Transport:     opts.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Bucket{opts, u.Scheme + "://" + u.Host + "/" + opts.Bucket + "/", client, time.Now}, nil
}

// checkPrefix holds each part to what is allowed in a key.
func checkPrefix(prefix string) error {
	for part := range strings.SplitSeq(strings.TrimSuffix(prefix, "/"), "/") {
		if err := artifact.CheckKey("a/" + part); err != nil || len(part) == 0 {
			return errors.Join(err, errors.New("empty"))
		}
	}
	return nil
}
