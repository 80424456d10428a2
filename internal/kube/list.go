package kube

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// pageSize is the number of objects that one list request asks for. With fewer, a
// large list takes several times as long, on a busy server above all.
const pageSize = 2000

const acceptList = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1," +
	"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

// ListMetadata calls each for the metadata of every object of one type in one
// namespace (all namespaces if empty) that the label selector selects, page by page.
func (c *Client) ListMetadata(ctx context.Context, gvr schema.GroupVersionResource, namespace, selector string,
	each func(*metav1.PartialObjectMetadata)) error {
	_, err := c.SnapshotMetadata(ctx, gvr, namespace, selector, each)
	return err
}

// SnapshotMetadata is ListMetadata, and returns the version of the list: a watch
// from there on misses nothing.
func (c *Client) SnapshotMetadata(ctx context.Context, gvr schema.GroupVersionResource, namespace, selector string,
	each func(*metav1.PartialObjectMetadata)) (version string, err error) {
	return c.Scan(ctx, gvr, namespace, selector, func(l *Listed) error {
		m, err := l.Metadata()
		if err == nil {
			each(m)
		}
		return err
	})
}

// Scan is SnapshotMetadata without decoding what few need: most objects of a list
// are as they were, which a glance tells. What each is given is valid during the
// call alone.
func (c *Client) Scan(ctx context.Context, gvr schema.GroupVersionResource, namespace, selector string,
	each func(*Listed) error) (version string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what was asked for and is not wanted any more
	list := func(token string) *page { return c.page(ctx, gvr, namespace, selector, token) }
	s := scanner{each: each}
	for p := list(""); ; {
		token, err := p.token()
		if err != nil {
			return "", err
		}
		following := p
		if token != "" { // the server works on the next page while this one is on its way
			following = list(token)
		}
		version, token, err := s.page(p)
		switch {
		case err != nil:
			return "", err
		case token == "":
			return version, nil
		case following == p:
			following = list(token)
		}
		p = following
	}
}

// page is a list request on its way.
type page struct {
	opened chan struct{} // closed when the rest is set
	body   io.ReadCloser
	head   []byte // read from body
	err    error
}

// maxHead bounds what comes before the first object of a list: its version, and a
// token of some hundred bytes.
const maxHead = 16 << 10

// page asks for one.
func (c *Client) page(ctx context.Context, gvr schema.GroupVersionResource, namespace, selector, token string) *page {
	path := groupVersionPath(gvr.GroupVersion())
	if namespace != "" {
		path = append(path, "namespaces", namespace)
	}
	r := c.rest.Get().AbsPath(append(path, gvr.Resource)...).SetHeader("Accept", acceptList).Param("limit", strconv.Itoa(pageSize))
	if selector != "" {
		r.Param("labelSelector", selector)
	}
	if token != "" {
		r.Param("continue", token)
	}
	p := &page{opened: make(chan struct{})}
	go func() {
		defer close(p.opened)
		p.body, p.err = r.Stream(ctx)
	}()
	return p
}

// token reads as much as it needs to tell where the next page begins. It is empty
// if there is none, or if only the whole page tells.
func (p *page) token() (string, error) {
	<-p.opened
	if p.err != nil {
		return "", p.err
	}
	p.head = make([]byte, 0, maxHead)
	for len(p.head) < maxHead {
		n, err := p.body.Read(p.head[len(p.head):maxHead])
		p.head = p.head[:len(p.head)+n]
		if head, ok := headOf(p.head); ok {
			return string(head.token), nil
		}
		if err != nil || len(p.head) >= len(protobufMagic) && !isProtobuf(p.head) {
			return "", nil //nolint:nilerr // reading the rest meets it again
		}
	}
	return "", nil
}

// scanner reads pages, one after the other into the same memory.
type scanner struct {
	each   func(*Listed) error
	buf    bytes.Buffer
	listed Listed
}

// page calls each for the objects of a page, and returns its version, and where
// the next begins.
func (s *scanner) page(p *page) (version, token string, err error) {
	defer p.body.Close()
	s.buf.Reset()
	s.buf.Write(p.head)
	if _, err := s.buf.ReadFrom(p.body); err != nil {
		return "", "", fmt.Errorf("read the server's answer: %w", err)
	}
	data := s.buf.Bytes()
	if !isProtobuf(data) {
		return s.json(data)
	}
	list, err := unwrap(data)
	if err != nil {
		return "", "", err
	}
	head, _ := headOf(data) // a list without one is the last page
	err = fields(list, func(f field) error {
		if f.number != 2 { // items
			return nil
		}
		if err := s.listed.decode(f.bytes); err != nil {
			return err
		}
		return s.each(&s.listed)
	})
	return string(head.version), string(head.token), err
}
