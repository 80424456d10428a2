package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PushOptions describe what [Repository.Push] pushes. The zero value is that of a
// tree of manifests of which nothing is known.
type PushOptions struct {
	// Source is where the tree comes from, such as the URL of a Git repository.
	Source string
	// Revision of the source, for instance main@sha1:<hex>.
	Revision string
	// Created is when the artifact was made; zero leaves it out, and lets the same
	// tree have the same digest.
	Created time.Time
	// Annotations are added to those above.
	Annotations map[string]string
	// MediaType of the layer. Default [MediaTypeContent].
	MediaType string
}

// Push uploads an archive, such as artifact.Pack makes, from where it stands to
// its end, and gives it a tag. It is read twice. Layers that are there already are
// not uploaded again.
func (r *Repository) Push(ctx context.Context, tag string, archive io.ReadSeeker, opts PushOptions) (Revision, error) {
	if err := checkTag(tag); err != nil {
		return Revision{}, err
	}
	layer, err := measure(archive)
	if err != nil {
		return Revision{}, fmt.Errorf("oci: push: %w", err)
	}
	layer.MediaType = MediaTypeContent
	if opts.MediaType != "" {
		layer.MediaType = opts.MediaType
	}
	d, err := r.push(ctx, tag, layer, archive, opts.annotations())
	if err != nil {
		return Revision{}, err
	}
	return Revision{tag, d}, nil
}

func (o PushOptions) annotations() map[string]string {
	out := maps.Clone(o.Annotations)
	if out == nil {
		out = map[string]string{}
	}
	for key, value := range map[string]string{AnnotationSource: o.Source, AnnotationRevision: o.Revision} {
		if value != "" {
			out[key] = value
		}
	}
	if !o.Created.IsZero() {
		out[AnnotationCreated] = o.Created.UTC().Format(time.RFC3339)
	}
	return out
}

// measure reads a body and leaves it where it was.
func measure(body io.ReadSeeker) (Layer, error) {
	start, err := body.Seek(0, io.SeekCurrent)
	if err != nil {
		return Layer{}, err
	}
	sum := digest.SHA256.Digester()
	size, err := io.Copy(sum.Hash(), body)
	if err != nil {
		return Layer{}, err
	}
	_, err = body.Seek(start, io.SeekStart)
	return Layer{Digest: sum.Digest(), Size: size}, err
}

// push uploads a layer and a manifest of it alone.
func (r *Repository) push(ctx context.Context, tag string, layer Layer, body io.Reader, annotations map[string]string) (digest.Digest, error) {
	config := []byte("{}")
	m := struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Config        Layer             `json:"config"`
		Layers        []Layer           `json:"layers"`
		Annotations   map[string]string `json:"annotations,omitempty"`
	}{2, mediaTypeManifest, Layer{MediaType: MediaTypeConfig, Digest: digest.FromBytes(config), Size: int64(len(config))}, []Layer{layer}, annotations}
	raw, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("oci: push: %w", err)
	}
	if len(raw) > maxManifest {
		return "", &ManifestError{fmt.Sprintf("it would have %d bytes, more than %d: use fewer annotations", len(raw), maxManifest)}
	}
	if err := r.pushBlob(ctx, m.Config, bytes.NewReader(config)); err != nil {
		return "", err
	}
	if err := r.pushBlob(ctx, layer, body); err != nil {
		return "", err
	}
	return digest.FromBytes(raw), r.pushManifest(ctx, mediaTypeManifest, raw, tag)
}

func (r *Repository) pushBlob(ctx context.Context, layer Layer, body io.Reader) error {
	desc := ocispec.Descriptor{MediaType: layer.MediaType, Digest: layer.Digest, Size: layer.Size}
	found, err := r.remote.Blobs().Exists(ctx, desc)
	if err == nil && !found {
		err = r.remote.Blobs().Push(ctx, desc, body)
	}
	return r.fail("push a layer to", err)
}

func (r *Repository) pushManifest(ctx context.Context, mediaType string, raw []byte, tag string) error {
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	err := r.remote.Manifests().PushReference(ctx, desc, bytes.NewReader(raw), tag)
	return r.fail("push the tag "+tag+" to", err)
}

// errSize is for a body that is not as long as announced.
var errSize = errors.New("the body does not have the size that was announced")
