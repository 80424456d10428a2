package oci

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/gitopskit/gitopskit/artifact"
)

// Open returns the tree that a layer holds, as artifact.Open does: the operation
// "extract".
func (r *Repository) Open(ctx context.Context, layer Layer) (fs.FS, error) {
	body, err := r.Read(ctx, layer)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }() // it was only read
	tree, err := artifact.Open(ctx, body, artifact.OpenOptions{Digest: layer.Digest, Limits: r.limits})
	if err != nil {
		return nil, fmt.Errorf("oci: layer %s of %s: %w", layer.Digest, r, err)
	}
	return tree, nil
}

// Read reads a layer as it is: the operation "copy", for instance into
// artifact.Store.Add. Bytes that do not have the layer's size and digest are an
// error in place of [io.EOF].
func (r *Repository) Read(ctx context.Context, layer Layer) (io.ReadCloser, error) {
	if err := checkDigest(layer.Digest); err != nil {
		return nil, &ManifestError{err.Error()}
	}
	if limit := r.maxLayer(); layer.Size > limit {
		return nil, &artifact.LimitError{Limit: "ArchiveBytes", Max: limit, Path: layer.Digest.String()}
	}
	body, err := r.blob(ctx, layer, 0, -1)
	if err != nil {
		return nil, err
	}
	return &verified{body, content.NewVerifyReader(body, ocispec.Descriptor{Digest: layer.Digest, Size: layer.Size}), layer}, nil
}

func (r *Repository) maxLayer() int64 { return max(cmp.Or(r.limits.ArchiveBytes, maxLayer), 0) }

// verified ends with an error unless the bytes are right.
type verified struct {
	io.Closer
	r     *content.VerifyReader
	layer Layer
}

func (v *verified) Read(b []byte) (int, error) {
	n, err := v.r.Read(b)
	if err == io.EOF { //nolint:errorlint // readers return it as it is
		if bad := v.r.Verify(); bad != nil {
			return n, fmt.Errorf("oci: layer %s: the registry sent other bytes: %w", v.layer.Digest, bad)
		}
	}
	return n, err
}

// blob asks for a part of a layer, or for all from offset on if length is
// negative. Registries that know no ranges send all.
func (r *Repository) blob(ctx context.Context, layer Layer, offset, length int64) (io.ReadCloser, error) {
	ref := r.remote.Reference
	ref.Reference = layer.Digest.String()
	scheme := "https"
	if r.remote.PlainHTTP {
		scheme = "http"
	}
	address := fmt.Sprintf("%s://%s/v2/%s/blobs/%s", scheme, ref.Host(), ref.Repository, layer.Digest)
	ctx = auth.AppendRepositoryScope(ctx, ref, auth.ActionPull)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if length < 0 || length > layer.Size-offset {
		length = layer.Size - offset
	}
	part := fmt.Sprintf("%d-%d", offset, offset+length-1)
	if length < layer.Size {
		req.Header.Set("Range", "bytes="+part)
	}
	op := "read the layer " + layer.Digest.String() + " of"
	resp, err := r.remote.Client.Do(req)
	if err != nil {
		return nil, r.fail(op, err)
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		if _, err = io.CopyN(io.Discard, resp.Body, offset); err == nil {
			return limited(resp.Body, layer, offset, length), nil
		}
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), "bytes "+part+"/"):
		return limited(resp.Body, layer, offset, length), nil
	case resp.StatusCode == http.StatusPartialContent:
		err = fmt.Errorf("it sent another part than the bytes %s", part)
	default:
		err = &errcode.ErrorResponse{Method: req.Method, URL: req.URL, StatusCode: resp.StatusCode}
	}
	_ = resp.Body.Close()
	return nil, r.fail(op, err)
}

// limited ends a part where it should end. A whole layer is not ended: whoever
// verifies it wants to know of a byte too many.
func limited(body io.ReadCloser, layer Layer, offset, length int64) io.ReadCloser {
	if offset == 0 && length == layer.Size {
		return body
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, length), body}
}
