package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/gitopskit/gitopskit/artifact"
)

// Backend keeps the files of an artifact.Store in the repository, which should be
// for that alone: each is an artifact with one layer, under a tag that is the key
// with "_" for "/". The registry has to allow that manifests are deleted, and
// frees the room of their layers when it collects garbage.
func (r *Repository) Backend() artifact.Backend { return backend{r} }

type backend struct{ repo *Repository }

// The annotation with the time at which a file was put, and its format: it makes
// the manifest of each one that was ever put another one.
const (
	annotationModified = "dev.gitopskit.artifact.modified"
	annotationKey      = "dev.gitopskit.artifact.key"
)

func tagOf(key string) (string, error) {
	if err := artifact.CheckKey(key); err != nil {
		return "", err
	}
	return strings.ReplaceAll(key, "/", "_"), nil
}

// Put implements artifact.Backend.
func (b backend) Put(ctx context.Context, key string, size int64, body io.ReadSeeker) error {
	tag, err := tagOf(key)
	if err != nil {
		return err
	}
	layer, err := measure(body)
	if err == nil && layer.Size != size {
		err = errSize
	}
	if err != nil {
		return fmt.Errorf("oci: put %s: %w", key, err)
	}
	layer.MediaType = MediaTypeContent
	_, err = b.repo.push(ctx, tag, layer, body, map[string]string{
		annotationKey: key, annotationModified: time.Now().UTC().Format(time.RFC3339Nano),
	})
	return err
}

// find returns the manifest and the layer of a key.
func (b backend) find(ctx context.Context, key string) (*Manifest, Layer, error) {
	tag, err := tagOf(key)
	if err != nil {
		return nil, Layer{}, err
	}
	m, _, err := b.repo.manifest(ctx, tag)
	if err != nil {
		return nil, Layer{}, err
	}
	layer, err := m.Layer("")
	return m, layer, err
}

// Open implements artifact.Backend.
func (b backend) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	_, layer, err := b.find(ctx, key)
	if err != nil {
		return nil, err
	}
	if offset == 0 && length < 0 {
		return b.repo.Read(ctx, layer)
	}
	if offset < 0 || offset > layer.Size {
		return nil, fmt.Errorf("oci: open %s at %d: it has %d bytes", key, offset, layer.Size)
	}
	return b.repo.blob(ctx, layer, offset, length)
}

// Stat implements artifact.Backend.
func (b backend) Stat(ctx context.Context, key string) (artifact.Info, error) {
	m, layer, err := b.find(ctx, key)
	if err != nil {
		return artifact.Info{}, err
	}
	// What others have put there is old: it has no promise to be kept.
	modified, _ := time.Parse(time.RFC3339Nano, m.Annotations[annotationModified])
	return artifact.Info{Size: layer.Size, Modified: modified, Version: m.Digest.String()}, nil
}

// Delete implements artifact.Backend. Some registries remove the tags with the
// manifest, and others do not; some refuse to remove a tag.
func (b backend) Delete(ctx context.Context, key string) error {
	tag, err := tagOf(key)
	if err != nil {
		return err
	}
	m, raw, err := b.repo.manifest(ctx, tag)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	desc := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	err = b.repo.fail("delete "+key+" in", b.repo.remote.Manifests().Delete(ctx, desc))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return b.repo.deleteTag(ctx, tag)
}

func (r *Repository) deleteTag(ctx context.Context, tag string) error {
	ref := r.remote.Reference
	ref.Reference = tag
	scheme := "https"
	if r.remote.PlainHTTP {
		scheme = "http"
	}
	ctx = auth.AppendRepositoryScope(ctx, ref, auth.ActionDelete)
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, fmt.Sprintf("%s://%s/v2/%s/manifests/%s", scheme, ref.Host(), ref.Repository, tag), nil)
	if err != nil {
		return err
	}
	resp, err := r.remote.Client.Do(req)
	if err != nil {
		return r.fail("delete the tag "+tag+" in", err)
	}
	return resp.Body.Close() // its manifest is gone
}

// List implements artifact.Backend.
func (b backend) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		start, err := tagOf(prefix + "x")
		if err != nil {
			yield("", err)
			return
		}
		start = strings.TrimSuffix(start, "x")
		tags, err := b.repo.Tags(ctx)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // nothing was ever put
			yield("", err)
			return
		}
		for _, tag := range tags {
			key := strings.ReplaceAll(tag, "_", "/")
			if strings.HasPrefix(tag, start) && artifact.CheckKey(key) == nil && !yield(key, nil) {
				return
			}
		}
	}
}
