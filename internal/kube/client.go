// Package kube holds the few requests to a Kubernetes API server that gc and ssa
// share, in the cheapest form that the server offers: metadata as protobuf,
// server-side apply answered with metadata alone.
package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversionscheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
)

// maxRetries bounds how often an apply is sent again because the server said when
// to come back. client-go's default of 10 makes a set wait for minutes.
const maxRetries = 3

const acceptMetadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1," +
	"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// Client speaks to one API server as one identity. It is safe for concurrent use.
type Client struct {
	Dynamic  dynamic.Interface
	Metadata metadata.Interface
	rest     rest.Interface
	host     string
	cfg      *rest.Config
	http     *http.Client
}

// New returns a client that shares one HTTP transport among its parts. Without a
// rate limit in cfg there is none: the server's own flow control is the better
// judge, and client-go's default of five requests a second is made for people.
func New(cfg *rest.Config) (*Client, error) {
	cfg = rest.CopyConfig(cfg)
	if cfg.QPS == 0 && cfg.RateLimiter == nil {
		cfg.QPS = -1
	}
	if cfg.WarningHandler == nil && cfg.WarningHandlerWithContext == nil {
		cfg.WarningHandler = rest.NoWarnings{} // the default logs them, and some quote values
	}
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", hostOf(cfg), err)
	}
	return newWithHTTP(cfg, httpClient)
}

func newWithHTTP(cfg *rest.Config, httpClient *http.Client) (*Client, error) {
	dyn, err := dynamic.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", hostOf(cfg), err)
	}
	md, err := metadata.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", hostOf(cfg), err)
	}
	raw := metadata.ConfigFor(cfg)
	raw.GroupVersion = &schema.GroupVersion{}
	raw.NegotiatedSerializer = metainternalversionscheme.Codecs.WithoutConversion()
	rc, err := rest.UnversionedRESTClientForConfigAndClient(raw, httpClient)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", hostOf(cfg), err)
	}
	return &Client{Dynamic: dyn, Metadata: md, rest: rc, host: hostOf(cfg), cfg: cfg, http: httpClient}, nil
}

// As returns a client that acts as another user and shares all connections.
func (c *Client) As(user rest.ImpersonationConfig) (*Client, error) {
	if user.UserName == "" { // without a name no header is sent, and the request is c's own
		return nil, errors.New("impersonate: the user name is empty")
	}
	h := *c.http
	h.Transport = transport.NewImpersonatingRoundTripper(transport.ImpersonationConfig{
		UserName: user.UserName, UID: user.UID, Groups: user.Groups, Extra: user.Extra}, c.http.Transport)
	return newWithHTTP(c.cfg, &h)
}

// CloseIdle closes the connections that no request uses.
func (c *Client) CloseIdle() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }

// hostOf is the address without the credentials that it may hold.
func hostOf(cfg *rest.Config) string {
	u, err := url.Parse(cfg.Host)
	if err != nil {
		return "the configured address"
	}
	if u.User != nil {
		u.User = nil
		return u.String()
	}
	return cfg.Host
}

// Host is the API server's address, for messages.
func (c *Client) Host() string { return c.host }

// Target addresses one object. Namespace is empty for cluster-scoped types.
type Target struct {
	schema.GroupVersionResource
	Namespace, Name string
}

// Check refuses what would address something else: requests are sent to a path
// that is joined from these names, and a name such as ".." or "a/b" changes it.
func (t Target) Check() error {
	for _, part := range []struct{ what, text string }{
		{"API group", t.Group}, {"API version", t.Version}, {"resource", t.Resource},
		{"namespace", t.Namespace}, {"name", t.Name},
	} {
		if why := rest.IsValidPathSegmentName(part.text); len(why) > 0 {
			return fmt.Errorf("its %s %q cannot be part of a URL: it %s", part.what, part.text, why[0])
		}
	}
	if t.Version == "" || t.Resource == "" || t.Name == "" {
		return errors.New("its API version, resource or name is empty")
	}
	return nil
}

func (t Target) path() []string {
	p := groupVersionPath(t.GroupVersion())
	if t.Namespace != "" {
		p = append(p, "namespaces", t.Namespace)
	}
	return append(p, t.Resource, t.Name)
}

func groupVersionPath(gv schema.GroupVersion) []string {
	if gv.Group == "" {
		return []string{"api", gv.Version}
	}
	return []string{"apis", gv.Group, gv.Version}
}

// ApplyOptions says how a configuration is applied.
type ApplyOptions struct {
	Manager string // field manager; required
	Force   bool   // take over fields that other managers own
	DryRun  bool   // answer as if, and write nothing
}

// Applied is the server's answer to an apply.
type Applied struct {
	Meta     *metav1.PartialObjectMetadata // metadata after the request
	Object   *unstructured.Unstructured    // whole object, from ApplyFull alone
	Created  bool                          // the object did not exist before
	Warnings []string
}

// Apply sends body (JSON) by server-side apply and asks for metadata alone.
func (c *Client) Apply(ctx context.Context, t Target, body []byte, o ApplyOptions) (Applied, error) {
	if err := t.Check(); err != nil {
		return Applied{}, err
	}
	res := c.apply(t, body, o).SetHeader("Accept", acceptMetadata).Do(ctx)
	out := answer(res)
	out.Meta = &metav1.PartialObjectMetadata{}
	if err := res.Into(out.Meta); err != nil {
		return out, err
	}
	return out, nil
}

// ApplyFull is Apply, answered with the whole object.
func (c *Client) ApplyFull(ctx context.Context, t Target, body []byte, o ApplyOptions) (Applied, error) {
	if err := t.Check(); err != nil {
		return Applied{}, err
	}
	res := c.apply(t, body, o).SetHeader("Accept", "application/json").Do(ctx)
	out := answer(res)
	// Get the error first: it is decoded from the body, which Raw would return as it is.
	if err := res.Error(); err != nil {
		return out, err
	}
	raw, err := res.Raw()
	if err != nil {
		return out, err
	}
	out.Object = &unstructured.Unstructured{}
	if err := out.Object.UnmarshalJSON(raw); err != nil {
		return out, fmt.Errorf("decode the server's answer: %w", err)
	}
	out.Meta = metadataOf(out.Object)
	return out, nil
}

func (c *Client) apply(t Target, body []byte, o ApplyOptions) *rest.Request {
	r := c.rest.Patch(types.ApplyPatchType).
		AbsPath(t.path()...).
		Param("fieldManager", o.Manager).
		Param("force", strconv.FormatBool(o.Force)).
		Param("fieldValidation", string(metav1.FieldValidationStrict)).
		MaxRetries(maxRetries).
		Body(body)
	if o.DryRun {
		r.Param("dryRun", metav1.DryRunAll)
	}
	return r
}

func answer(res rest.Result) Applied {
	var code int
	res.StatusCode(&code)
	out := Applied{Created: code == http.StatusCreated}
	for _, w := range res.Warnings() {
		out.Warnings = append(out.Warnings, w.Text)
	}
	return out
}

// metadataOf copies an object's metadata.
func metadataOf(u *unstructured.Unstructured) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.APIVersion, m.Kind = u.GetAPIVersion(), u.GetKind()
	m.Name, m.Namespace = u.GetName(), u.GetNamespace()
	m.UID, m.ResourceVersion, m.Generation = u.GetUID(), u.GetResourceVersion(), u.GetGeneration()
	m.Labels, m.Annotations = u.GetLabels(), u.GetAnnotations()
	m.ManagedFields = u.GetManagedFields()
	m.DeletionTimestamp = u.GetDeletionTimestamp()
	m.Finalizers, m.OwnerReferences = u.GetFinalizers(), u.GetOwnerReferences()
	return m
}

// GetMetadata reads one object's metadata.
func (c *Client) GetMetadata(ctx context.Context, t Target) (*metav1.PartialObjectMetadata, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	return c.Metadata.Resource(t.GroupVersionResource).Namespace(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
}

// Get reads one whole object.
func (c *Client) Get(ctx context.Context, t Target) (*unstructured.Unstructured, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	return c.Dynamic.Resource(t.GroupVersionResource).Namespace(t.Namespace).Get(ctx, t.Name, metav1.GetOptions{})
}

// Delete deletes one object if it still is the version that was looked at. done
// says that the object is gone already: no finalizer holds it.
func (c *Client) Delete(ctx context.Context, t Target, o metav1.DeleteOptions) (done bool, err error) {
	if err := t.Check(); err != nil {
		return false, err
	}
	body, err := deleteBody(o)
	if err != nil {
		return false, err
	}
	res := c.rest.Delete().AbsPath(t.path()...).
		SetHeader("Accept", acceptMetadata).SetHeader("Content-Type", "application/json").
		Body(body).Do(ctx)
	if err := res.Error(); err != nil {
		return false, err
	}
	// The server answers with a Status when the object is gone, and with the object
	// while a finalizer or a grace period keeps it.
	obj, err := res.Get()
	if err != nil {
		return false, fmt.Errorf("decode the server's answer: %w", err)
	}
	_, gone := obj.(*metav1.Status)
	return gone, nil
}

// Versions reads which versions of a group the server serves: none if it does
// not know the group.
func (c *Client) Versions(ctx context.Context, group string) ([]string, error) {
	if group == "" {
		return []string{"v1"}, nil
	}
	var served metav1.APIGroup
	err := c.rest.Get().AbsPath("apis", group).SetHeader("Accept", "application/json").Do(ctx).Into(&served)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	versions := make([]string, 0, len(served.Versions))
	for _, v := range served.Versions {
		versions = append(versions, v.Version)
	}
	return versions, err
}

// Resources reads what the server serves under one group and version.
func (c *Client) Resources(ctx context.Context, gv schema.GroupVersion) (*metav1.APIResourceList, error) {
	list := &metav1.APIResourceList{}
	err := c.rest.Get().AbsPath(groupVersionPath(gv)...).SetHeader("Accept", "application/json").Do(ctx).Into(list)
	return list, err
}
