package git_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gitopskit/gitopskit/git"
)

// hostile2 is a server of version 2 of the protocol that says what a test wants
// it to say.
type hostile2 struct {
	greeting string // in packets; empty: a usual one
	refs     string // the answer to ls-refs
	pack     []byte // the answer to fetch, if fetch is nil
	fetch    func(w http.ResponseWriter, asked string)
}

const (
	hello2   = "000eversion 2\n"
	packHead = "000dpackfile\n"
)

func greeting2(features string) string {
	return hello2 + pkt("agent=git/x\n") + pkt("ls-refs=unborn\n") + pkt("fetch="+features+"\n") + pkt("object-format=sha1\n") + "0000"
}

func oneRef2(commit string) string { return pkt(commit+" refs/heads/main\n") + "0000" }

func (h *hostile2) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodGet {
		w.Header().Set("Content-Type", advertised)
		hello := h.greeting
		if hello == "" {
			hello = greeting2("shallow filter")
		}
		io.WriteString(w, pkt("# service=git-upload-pack\n")+"0000"+hello)
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", result)
	switch asked := string(body); {
	case strings.Contains(asked, "command=ls-refs"):
		io.WriteString(w, h.refs)
	case h.fetch != nil:
		h.fetch(w, asked)
	default:
		answer2(w, h.pack)
	}
}

// answer2 sends a pack as an honest server does.
func answer2(w io.Writer, pack []byte) {
	io.WriteString(w, packHead)
	w.Write(sidebands(pack))
}

func (h *hostile2) serve(t *testing.T, opts git.Options) *git.Remote {
	t.Helper()
	if opts.Engine == "" {
		opts.Engine = git.EngineFast
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return open(t, server.URL+"/repo.git", opts)
}

func flushNow(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
