package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/content"

	"github.com/gitopskit/gitopskit/internal/clip"
)

// The media types that flux push artifact writes.
const (
	MediaTypeConfig  = "application/vnd.cncf.flux.config.v1+json"
	MediaTypeContent = "application/vnd.cncf.flux.content.v1.tar+gzip"

	mediaTypeManifest       = "application/vnd.oci.image.manifest.v1+json"
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
)

// The annotations that flux push artifact writes.
const (
	AnnotationSource   = "org.opencontainers.image.source"
	AnnotationRevision = "org.opencontainers.image.revision"
	AnnotationCreated  = "org.opencontainers.image.created"
)

// Manifest says what an artifact consists of.
type Manifest struct {
	Digest      digest.Digest
	MediaType   string
	Config      Layer
	Layers      []Layer
	Annotations map[string]string
}

// Layer is a file of an artifact.
type Layer struct {
	MediaType   string            `json:"mediaType"`
	Digest      digest.Digest     `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Layer returns the first layer with a media type, or the first one of all if the
// type is empty. If there is none, that is a [*ManifestError].
func (m *Manifest) Layer(mediaType string) (Layer, error) {
	for _, layer := range m.Layers {
		if mediaType == "" || layer.MediaType == mediaType {
			return layer, nil
		}
	}
	if mediaType == "" {
		return Layer{}, &ManifestError{"it has no layer"}
	}
	return Layer{}, &ManifestError{fmt.Sprintf("none of its %d layers has the media type %q", len(m.Layers), clip.Quote(mediaType, 200))}
}

// Manifest reads the manifest of a revision.
func (r *Repository) Manifest(ctx context.Context, rev Revision) (*Manifest, error) {
	m, _, err := r.manifest(ctx, rev.Digest.String())
	return m, err
}

// manifest reads one by its digest or its tag.
func (r *Repository) manifest(ctx context.Context, name string) (*Manifest, []byte, error) {
	desc, body, err := r.remote.Manifests().FetchReference(ctx, name)
	if err != nil {
		return nil, nil, r.fail("read the manifest "+clip.Quote(name, 200)+" of", err)
	}
	defer func() { _ = body.Close() }() // it was only read
	if desc.Size > maxManifest {
		return nil, nil, &ManifestError{fmt.Sprintf("it has %d bytes, more than %d", desc.Size, maxManifest)}
	}
	data, err := content.ReadAll(io.LimitReader(body, maxManifest+1), desc)
	if err != nil {
		return nil, nil, r.fail("read the manifest "+clip.Quote(name, 200)+" of", err)
	}
	m, err := parseManifest(data, desc.MediaType)
	if err != nil {
		return nil, nil, err
	}
	m.Digest = desc.Digest
	return m, data, nil
}

// parseManifest reads a manifest of the media type that it was sent with. One that
// could be taken for something else by somebody else is refused.
func parseManifest(data []byte, mediaType string) (*Manifest, error) {
	var raw struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Config        Layer             `json:"config"`
		Layers        []Layer           `json:"layers"`
		Annotations   map[string]string `json:"annotations"`
		Manifests     json.RawMessage   `json:"manifests"`
		FSLayers      json.RawMessage   `json:"fsLayers"`
	}
	if mediaType != mediaTypeManifest && mediaType != mediaTypeDockerManifest {
		return nil, &ManifestError{fmt.Sprintf("it is of type %q: an index has to be replaced by the digest of one of its manifests", clip.Quote(mediaType, 200))}
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, &ManifestError{"it is not JSON of the form that it should have"}
	}
	switch {
	case raw.SchemaVersion != 2:
		return nil, &ManifestError{fmt.Sprintf("schema version %d, not 2", raw.SchemaVersion)}
	case raw.MediaType != "" && raw.MediaType != mediaType:
		return nil, &ManifestError{fmt.Sprintf("it says that its type is %q, but was sent as %q", clip.Quote(raw.MediaType, 200), mediaType)}
	case raw.Manifests != nil || raw.FSLayers != nil:
		return nil, &ManifestError{"it is a manifest and an index at once"}
	}
	for _, layer := range append([]Layer{raw.Config}, raw.Layers...) {
		if err := checkDigest(layer.Digest); err != nil {
			return nil, &ManifestError{fmt.Sprintf("layer %q: %v", clip.Quote(layer.Digest.String(), 200), err)}
		}
		if layer.Size < 0 {
			return nil, &ManifestError{fmt.Sprintf("layer %s has the size %d", layer.Digest, layer.Size)}
		}
	}
	return &Manifest{MediaType: mediaType, Config: raw.Config, Layers: raw.Layers, Annotations: raw.Annotations}, nil
}
