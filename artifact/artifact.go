package artifact

import (
	"maps"
	"time"

	"github.com/opencontainers/go-digest"
)

// Artifact is what a producer publishes in its status, and what a consumer needs
// to fetch a tree and to trust it. Its JSON is that of the sources of the GitOps
// Toolkit, so either side can be exchanged.
type Artifact struct {
	// Path of the file below the root of the producer's storage, for people who
	// look for it there. Consumers use URL.
	Path string `json:"path"`
	// URL from which the file can be fetched.
	URL string `json:"url"`
	// Revision of the source that was packed, for instance main@sha1:<hex>.
	Revision string `json:"revision"`
	// Digest of the file, as in [Summary].
	Digest digest.Digest `json:"digest"`
	// LastUpdateTime is when the file was made. Kubernetes keeps whole seconds.
	LastUpdateTime time.Time `json:"lastUpdateTime"`
	// Size of the file in bytes; nil if not known.
	Size *int64 `json:"size,omitempty"`
	// Metadata holds further facts on the source, such as OCI annotations.
	Metadata map[string]string `json:"metadata,omitempty"`
}

// DeepCopy returns a copy that shares nothing with a.
func (a *Artifact) DeepCopy() *Artifact {
	if a == nil {
		return nil
	}
	out := new(Artifact)
	a.DeepCopyInto(out)
	return out
}

// DeepCopyInto copies a into out so that they share nothing.
func (a *Artifact) DeepCopyInto(out *Artifact) {
	*out = *a
	out.Metadata = maps.Clone(a.Metadata)
	if a.Size != nil {
		out.Size = new(*a.Size)
	}
}

// Path returns where package transfer serves an archive, for Artifact.Path and, as the
// Path of a [url.URL], for Artifact.URL: the name of the source, such as
// gitrepository/default/app, and the digest. The name is for people and says
// nothing about who may read the archive.
func Path(name string, d digest.Digest) (string, error) {
	if _, err := groupDir(name); err != nil {
		return "", err
	}
	if _, err := Key(d); err != nil {
		return "", err
	}
	return name + "/" + d.Encoded() + archiveExt, nil
}
