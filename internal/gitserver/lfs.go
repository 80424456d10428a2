package gitserver

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// LFS is a large file storage for [HTTPOptions], with the batch API and the
// basic transfer of Git LFS. All repositories of a server share it. The zero
// value is empty.
type LFS struct {
	// Answer, if not nil, may change the answer to a batch request. If it returns
	// false it has answered by itself.
	Answer func(w http.ResponseWriter, req *http.Request, a *LFSAnswer) bool
	// Download, if not nil, takes the place of what sends a file.
	Download http.HandlerFunc

	mu    sync.Mutex
	files map[string][]byte
}

// LFSAnswer is the answer to a batch request.
type LFSAnswer struct {
	Transfer string       `json:"transfer,omitempty"`
	HashAlgo string       `json:"hash_algo,omitempty"`
	Objects  []*LFSObject `json:"objects"`
}

// LFSObject says where a file is, or why it is nowhere.
type LFSObject struct {
	OID           string                `json:"oid"`
	Size          int64                 `json:"size"`
	Authenticated bool                  `json:"authenticated,omitempty"`
	Actions       map[string]*LFSAction `json:"actions,omitempty"`
	Error         *LFSError             `json:"error,omitempty"`
}

// LFSAction is how to get a file.
type LFSAction struct {
	Href      string            `json:"href"`
	Header    map[string]string `json:"header,omitempty"`
	ExpiresIn int               `json:"expires_in,omitempty"` // seconds
	ExpiresAt string            `json:"expires_at,omitempty"` // RFC 3339
}

// LFSError is why a file cannot be had.
type LFSError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// Put stores a file and returns the pointer to commit in its place.
func (l *LFS) Put(content []byte) (pointer []byte) {
	oid := fmt.Sprintf("%x", sha256.Sum256(content))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files == nil {
		l.files = map[string][]byte{}
	}
	l.files[oid] = content
	return fmt.Appendf(nil, "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oid, len(content))
}

func (l *LFS) get(oid string) ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	content, ok := l.files[oid]
	return content, ok
}

const lfsPath = "/info/lfs/objects/"

// serves says whether a request is for the large file storage.
func (l *LFS) serves(req *http.Request) bool {
	return l != nil && strings.Contains(req.URL.Path, lfsPath)
}

// ServeHTTP implements [http.Handler], for addresses that contain
// /info/lfs/objects/.
func (l *LFS) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	repo, name, ok := strings.Cut(req.URL.Path, lfsPath)
	switch {
	case ok && name == "batch" && req.Method == http.MethodPost:
		l.batch(w, req, repo)
	case ok && req.Method == http.MethodGet && l.Download != nil:
		l.Download(w, req)
	case ok && req.Method == http.MethodGet:
		content, found := l.get(name)
		if !found {
			http.NotFound(w, req)
			return
		}
		_, _ = w.Write(content) // fails if the client is gone
	default:
		http.NotFound(w, req)
	}
}

func (l *LFS) batch(w http.ResponseWriter, req *http.Request, repo string) {
	var ask struct {
		Operation string      `json:"operation"`
		Transfers []string    `json:"transfers"`
		Objects   []LFSObject `json:"objects"`
		HashAlgo  string      `json:"hash_algo"`
	}
	const mediaType = "application/vnd.git-lfs+json"
	w.Header().Set("Content-Type", mediaType)
	err := json.NewDecoder(req.Body).Decode(&ask)
	switch {
	case req.Header.Get("Accept") != mediaType || req.Header.Get("Content-Type") != mediaType:
		w.WriteHeader(http.StatusNotAcceptable)
		return
	case err != nil || ask.Operation != "download" || len(ask.Objects) == 0 || len(ask.Objects) > 100 ||
		strings.Join(ask.Transfers, " ") != "basic" || ask.HashAlgo != "sha256":
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	scheme := "http"
	if req.TLS != nil {
		scheme = "https"
	}
	answer := &LFSAnswer{Transfer: "basic"}
	for _, o := range ask.Objects {
		if content, ok := l.get(o.OID); ok && int64(len(content)) == o.Size {
			o.Actions = map[string]*LFSAction{"download": {Href: scheme + "://" + req.Host + repo + lfsPath + o.OID}}
		} else {
			o.Error = &LFSError{http.StatusNotFound, "Object does not exist"}
		}
		answer.Objects = append(answer.Objects, &o)
	}
	if l.Answer == nil || l.Answer(w, req, answer) {
		_ = json.NewEncoder(w).Encode(answer) // fails if the client is gone
	}
}
