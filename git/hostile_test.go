package git_test

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
)

const (
	advertised = "application/x-git-upload-pack-advertisement"
	result     = "application/x-git-upload-pack-result"
)

func pkt(payload string) string { return fmt.Sprintf("%04x%s", len(payload)+4, payload) }

// hostile is a server that says what a test wants it to say.
type hostile struct {
	refs string // the list of references, in packets
	pack []byte
	// get and post replace the answers.
	get, post http.HandlerFunc
}

func (h hostile) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodGet {
		if h.get != nil {
			h.get(w, req)
			return
		}
		w.Header().Set("Content-Type", advertised)
		io.WriteString(w, pkt("# service=git-upload-pack\n")+"0000"+h.refs)
		return
	}
	if h.post != nil {
		h.post(w, req)
		return
	}
	w.Header().Set("Content-Type", result)
	io.WriteString(w, pkt("NAK\n"))
	w.Write(sidebands(h.pack))
}

// serve starts the server and opens its repository.
func (h hostile) serve(t *testing.T, opts git.Options) *git.Remote {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return open(t, server.URL+"/repo.git", opts)
}

func sidebands(data []byte) []byte {
	var out []byte
	for len(data) > 0 {
		n := min(len(data), 65000)
		out = append(out, pkt("\x01"+string(data[:n]))...)
		data = data[n:]
	}
	return append(out, "0000"...)
}

// oneRef is the list of references of a repository with one branch.
func oneRef(commit string) string {
	return pkt(commit+" refs/heads/main\x00side-band-64k ofs-delta\n") + "0000"
}

// packed is an entry of a pack.
type packed struct {
	kind byte   // 1 commit, 2 tree, 3 blob, 4 tag, 6 and 7 deltas
	size int    // as the header says; -1: as it is
	head []byte // between the header and the data: the base of a delta
	data []byte
}

// pack writes a pack with a correct trailer.
func pack(count uint32, entries ...packed) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	for _, e := range entries {
		size := e.size
		if size < 0 {
			size = len(e.data)
		}
		first := e.kind<<4 | byte(size&15)
		for size >>= 4; size > 0; size >>= 7 {
			b.WriteByte(first | 0x80)
			first = byte(size & 127)
		}
		b.WriteByte(first)
		b.Write(e.head)
		z.Reset(&b)
		z.Write(e.data)
		z.Close()
	}
	return sealed(count, b.Bytes())
}

// sealed puts a head and a trailer around the entries of a pack.
func sealed(count uint32, entries []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), count)
	b = append(b, entries...)
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

func hashOf(kind string, data []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "%s %d\x00", kind, len(data)), data...))
	return hex.EncodeToString(sum[:])
}

// tiny is a commit of one file, as the entries of a pack.
func tiny(content string) (commit string, entries []packed) {
	blob := []byte(content)
	tree := treeOf("100644 file", hashOf("blob", blob))
	text := commitOf(hashOf("tree", tree))
	return hashOf("commit", text), []packed{{1, -1, nil, text}, {2, -1, nil, tree}, {3, -1, nil, blob}}
}

// treeOf writes a tree of pairs: "mode name", hash.
func treeOf(pairs ...string) []byte {
	var b bytes.Buffer
	for i := 0; i < len(pairs); i += 2 {
		hash, _ := hex.DecodeString(pairs[i+1])
		b.WriteString(pairs[i] + "\x00")
		b.Write(hash)
	}
	return b.Bytes()
}

func commitOf(tree string) []byte {
	return []byte("tree " + tree + "\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nm\n")
}

// fetchHostile resolves main and fetches it.
func fetchHostile(t *testing.T, r *git.Remote) error {
	t.Helper()
	rev, err := r.Resolve(t.Context(), git.Ref{Branch: "main"})
	require.NoError(t, err)
	_, err = r.Fetch(t.Context(), rev, git.FetchOptions{})
	return err
}

// The helpers above must make what is accepted, or the attacks prove nothing.
func TestHostileServerCanBeHonest(t *testing.T) {
	commit, entries := tiny("hello\n")
	base, delta := []byte("hello\n"), []byte{6, 11, 5, 'h', 'e', 'l', 'l', 'o', 0x90, 6}
	require.Equal(t, byte(6), byte(len(base)))
	r := hostile{refs: oneRef(commit), pack: pack(3, entries...)}.serve(t, git.Options{})
	require.NoError(t, fetchHostile(t, r))

	// The file as a delta, of the blob that is in the pack too.
	changed := []byte("hellohello\n")
	tree := treeOf("100644 file", hashOf("blob", changed))
	text := commitOf(hashOf("tree", tree))
	baseID, _ := hex.DecodeString(hashOf("blob", base))
	r = hostile{refs: oneRef(hashOf("commit", text)), pack: pack(4, packed{1, -1, nil, text}, packed{2, -1, nil, tree},
		packed{3, -1, nil, base}, packed{7, -1, baseID, delta})}.serve(t, git.Options{})
	require.NoError(t, fetchHostile(t, r))
	require.True(t, strings.HasPrefix(r.URL(), "http://127.0.0.1:"))
}
