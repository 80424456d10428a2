package git_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/gitopskit/gitopskit/git"
	"github.com/gitopskit/gitopskit/internal/gitserver"
)

const (
	someOID     = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
	somePointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + someOID + "\nsize 12345\n"
)

func TestLFSPointer(t *testing.T) {
	ext := func(lines ...string) string {
		return strings.Replace(somePointer, "\noid", "\n"+strings.Join(lines, "\n")+"\noid", 1)
	}
	replace := func(old, new string) string { return strings.Replace(somePointer, old, new, 1) }
	want := git.LFSFile{OID: someOID, Size: 12345}
	extended := git.LFSFile{OID: someOID, Size: 12345, Extended: true}
	for _, test := range []struct {
		name, blob string
		want       *git.LFSFile
	}{
		{"as git-lfs writes it", somePointer, &want},
		{"no newline at the end", strings.TrimSpace(somePointer), &want},
		{"space around", "\n" + somePointer + "\n\n", &want},
		{"line ends of Windows", strings.ReplaceAll(somePointer, "\n", "\r\n"), &want},
		{"size 0", replace("12345", "0"), &git.LFSFile{OID: someOID}},
		{"the largest size", replace("12345", "9223372036854775807"), &git.LFSFile{OID: someOID, Size: 1<<63 - 1}},
		{"an extension", ext("ext-0-foo sha256:" + someOID), &extended},
		{"two extensions", ext("ext-0-foo sha256:"+someOID, "ext-1-bar sha256:"+someOID), &extended},
		{"almost too long", ext("ext-0-" + strings.Repeat("a", 1023-len(somePointer)-80) + " sha256:" + someOID), &extended},

		{"nothing", "", nil},
		{"another version", replace("spec/v1", "spec/v2"), nil},
		{"version is not first", "size 1\n" + somePointer, nil},
		{"no size", replace("size 12345\n", ""), nil},
		{"no oid", replace("oid sha256:"+someOID+"\n", ""), nil},
		{"other order", "version https://git-lfs.github.com/spec/v1\nsize 12345\noid sha256:" + someOID + "\n", nil},
		{"another hash", replace("sha256", "sha512"), nil},
		{"short oid", replace(someOID, someOID[1:]), nil},
		{"upper-case oid", replace(someOID, strings.ToUpper(someOID)), nil},
		{"negative", replace("12345", "-1"), nil},
		{"plus", replace("12345", "+1"), nil},
		{"zeros in front", replace("12345", "012345"), nil},
		{"hexadecimal", replace("12345", "0x10"), nil},
		{"too large", replace("12345", "9223372036854775808"), nil},
		{"two spaces", replace("size ", "size  "), nil},
		{"text behind", somePointer + "more\n", nil},
		{"empty line inside", replace("\noid", "\n\noid"), nil},
		{"unknown key", ext("key value"), nil},
		{"extensions out of order", ext("ext-1-foo sha256:"+someOID, "ext-0-bar sha256:"+someOID), nil},
		{"an extension twice", ext("ext-0-foo sha256:"+someOID, "ext-0-foo sha256:"+someOID), nil},
		{"an extension without a name", ext("ext-0 sha256:" + someOID), nil},
		{"too long", somePointer + strings.Repeat("\n", 1024-len(somePointer)), nil},
		{"not text", replace("12345", "1\xff"), nil},
	} {
		got, ok := git.ParseLFSPointer([]byte(test.blob))
		require.Equal(t, test.want != nil, ok, test.name)
		if ok {
			require.Equal(t, *test.want, got, test.name)
		}
	}
}

// What is taken for a pointer says what it is in every line.
func FuzzLFSPointer(f *testing.F) {
	f.Add([]byte(somePointer))
	f.Add([]byte(strings.Replace(somePointer, "\noid", "\next-0-foo sha256:"+someOID+"\noid", 1)))
	f.Fuzz(func(t *testing.T, blob []byte) {
		file, ok := git.ParseLFSPointer(blob)
		if !ok {
			return
		}
		require.Less(t, len(blob), 1024)
		require.GreaterOrEqual(t, file.Size, int64(0))
		plain := fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", file.OID, file.Size)
		again, ok := git.ParseLFSPointer([]byte(plain))
		require.True(t, ok)
		again.Extended = file.Extended
		require.Equal(t, file, again)
		if !file.Extended {
			require.Equal(t, plain, strings.TrimSpace(strings.ReplaceAll(string(blob), "\r\n", "\n"))+"\n")
		}
	})
}

// storage is a server with large files, and what is asked of it.
type storage struct {
	*gitserver.LFS
	t    *testing.T
	url  string // of the repository
	opts git.Options

	mu       sync.Mutex
	requests []*http.Request
}

// recorded is a transport that notes requests.
type recorded struct {
	http.RoundTripper
	s *storage
}

func (r recorded) RoundTrip(req *http.Request) (*http.Response, error) {
	r.s.mu.Lock()
	r.s.requests = append(r.s.requests, req)
	r.s.mu.Unlock()
	return r.RoundTripper.RoundTrip(req)
}

func newStorage(t *testing.T, auth git.Auth) *storage {
	t.Helper()
	s := &storage{LFS: &gitserver.LFS{}, t: t}
	server, err := gitserver.ServeHTTP(t.Context(), t.TempDir(), gitserver.HTTPOptions{
		Username: auth.Username, Password: auth.Password, BearerToken: auth.BearerToken, LFS: s.LFS,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	s.use(server.URL+"/org/repo", git.Options{Auth: auth, InsecureCredentials: true})
	return s
}

func (s *storage) use(url string, opts git.Options) {
	s.url, s.opts = url, opts
	s.opts.WrapTransport = func(rt http.RoundTripper) http.RoundTripper { return recorded{rt, s} }
}

// newTLSStorage is one over HTTPS.
func newTLSStorage(t *testing.T) *storage {
	t.Helper()
	s := &storage{LFS: &gitserver.LFS{}, t: t}
	server := httptest.NewTLSServer(s.LFS)
	t.Cleanup(server.Close)
	s.use(server.URL+"/org/repo.git", git.Options{CABundle: certificate(server)})
	return s
}

// put stores a file.
func (s *storage) put(path, content string) git.LFSFile {
	s.t.Helper()
	f, ok := git.ParseLFSPointer(s.Put([]byte(content)))
	require.True(s.t, ok)
	f.Path = path
	return f
}

// download returns the content of files by their path.
func (s *storage) download(files ...git.LFSFile) (map[string]string, error) {
	var mu sync.Mutex
	got := map[string]string{}
	err := git.LFSDownload(s.t.Context(), s.url, s.opts, files, nil, func(f git.LFSFile, r io.Reader) error {
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if _, twice := got[f.Path]; twice {
			return fmt.Errorf("%s came twice", f.Path)
		}
		got[f.Path] = string(content)
		return nil
	})
	return got, err
}

// answer sets how the answer to a batch is changed.
func (s *storage) answer(change func(o *gitserver.LFSObject)) {
	s.Answer = func(_ http.ResponseWriter, _ *http.Request, a *gitserver.LFSAnswer) bool {
		for _, o := range a.Objects {
			change(o)
		}
		return true
	}
}

// saw counts the requests so far whose path contains a text.
func (s *storage) saw(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, req := range s.requests {
		if strings.Contains(req.URL.Path, text) {
			n++
		}
	}
	return n
}

func TestLFSDownload(t *testing.T) {
	s := newStorage(t, git.Auth{Username: "u", Password: "secret"})
	var files []git.LFSFile
	want := map[string]string{}
	for i := range 250 {
		path, content := fmt.Sprintf("file%d", i), strings.Repeat(fmt.Sprint(i, "\n"), i*10+1)
		files = append(files, s.put(path, content))
		want[path] = content
	}
	files = append(files, files[0])
	files[250].Path = "again"
	got, err := s.download(files...)
	require.NoError(t, err)
	require.Equal(t, want, got, "each content once")
	require.Equal(t, 3, s.saw("/org/repo.git/info/lfs/objects/batch"), "at most 100 in a batch, at the address that Git LFS guesses")
	require.Equal(t, 3+250, s.saw(""))

	got, err = s.download()
	require.NoError(t, err)
	require.Empty(t, got)
	require.Equal(t, 3+250, s.saw(""), "nothing is asked for nothing")
}

func TestLFSEndpoint(t *testing.T) {
	s := newStorage(t, git.Auth{})
	f := s.put("a", "content")
	base := strings.TrimSuffix(s.url, "/repo")
	for _, name := range []string{"/repo", "/repo.git", "/repo/", "/repo.git/", "/re%20po%2fx"} {
		s.url = base + name
		_, err := s.download(f)
		require.NoError(t, err, name)
		last := s.requests[len(s.requests)-2].URL.EscapedPath()
		require.Contains(t, last, "/org/re")
		require.Equal(t, 1, strings.Count(last, ".git/info/lfs/objects/batch"), last)
	}
}

func TestLFSNotThere(t *testing.T) {
	s := newStorage(t, git.Auth{})
	there := s.put("there", "content")
	missing := git.LFSFile{Path: "dir/missing", OID: someOID, Size: 3}
	_, err := s.download(there, missing)
	var e *git.LFSError
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, git.ErrLFS)
	require.Equal(t, missing, e.LFSFile)
	require.Equal(t, 404, e.Code)
	require.False(t, e.Terminal())
	require.ErrorContains(t, err, `"dir/missing"`)
	require.ErrorContains(t, err, "Object does not exist")

	for _, code := range []int{410, 422} {
		s.answer(func(o *gitserver.LFSObject) {
			o.Error = &gitserver.LFSError{Code: code, Message: "gone\nfor\x1b[31m ever"}
		})
		_, err = s.download(there)
		require.ErrorAs(t, err, &e)
		require.Equal(t, code, e.Code)
		require.True(t, e.Terminal())
		require.Equal(t, "gone for [31m ever", e.Message)
	}

	s.answer(func(o *gitserver.LFSObject) { o.Actions = nil })
	_, err = s.download(there)
	require.ErrorIs(t, err, git.ErrLFS)

	s.Answer = nil
	s.Download = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }
	_, err = s.download(there)
	require.ErrorAs(t, err, &e)
	require.Equal(t, 410, e.Code)

	_, err = s.download(git.LFSFile{Path: "x", OID: someOID, Size: 1, Extended: true})
	require.ErrorIs(t, err, git.ErrLFS)
	require.True(t, terminal(t, err))
	_, err = s.download(git.LFSFile{Path: "x", OID: someOID, Size: 1}, git.LFSFile{Path: "y", OID: someOID, Size: 2})
	require.ErrorIs(t, err, git.ErrMalformed)
	require.ErrorContains(t, err, `"y"`)
}

func TestLFSStatus(t *testing.T) {
	s := newStorage(t, git.Auth{})
	f := s.put("a", "content")
	for code, want := range map[int]error{
		401: git.ErrAuthRequired, 403: git.ErrAuthRefused, 404: git.ErrLFS, 410: git.ErrLFS, 405: git.ErrLFS, 501: git.ErrLFS,
		429: git.ErrUnreachable, 500: git.ErrUnreachable, 503: git.ErrUnreachable, 509: git.ErrUnreachable,
		422: git.ErrProtocol, 204: git.ErrProtocol, 206: git.ErrProtocol,
	} {
		s.Answer = func(w http.ResponseWriter, _ *http.Request, _ *gitserver.LFSAnswer) bool {
			w.WriteHeader(code)
			return false
		}
		_, err := s.download(f)
		require.ErrorIs(t, err, want, code)
	}
	s.Answer = nil
	for code, want := range map[int]error{401: git.ErrAuthRequired, 403: git.ErrAuthRefused, 206: git.ErrProtocol, 503: git.ErrUnreachable} {
		s.Download = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
		_, err := s.download(f)
		require.ErrorIs(t, err, want, code)
		require.ErrorContains(t, err, `"a"`)
	}
	s.url = "http://127.0.0.1:1/repo"
	_, err := s.download(f)
	require.ErrorIs(t, err, git.ErrUnreachable)
}

func TestLFSWrongCredentials(t *testing.T) {
	s := newStorage(t, git.Auth{BearerToken: "right-token"})
	f := s.put("a", "content")
	s.opts.Auth.BearerToken = "wrong-token"
	_, err := s.download(f)
	require.ErrorIs(t, err, git.ErrAuthRefused)
	require.NotContains(t, err.Error(), "wrong-token")
	s.opts.Auth = git.Auth{}
	_, err = s.download(f)
	require.ErrorIs(t, err, git.ErrAuthRequired)
}

func TestLFSSinkFails(t *testing.T) {
	s := newStorage(t, git.Auth{})
	f := s.put("a", "content")
	why := errors.New("disk full")
	err := git.LFSDownload(t.Context(), s.url, s.opts, []git.LFSFile{f}, nil, func(git.LFSFile, io.Reader) error { return why })
	require.ErrorIs(t, err, why)
	// One that does not read to the end does not make wrong content right.
	s.Download = func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "c0ntent") }
	err = git.LFSDownload(t.Context(), s.url, s.opts, []git.LFSFile{f}, nil, func(git.LFSFile, io.Reader) error { return nil })
	require.ErrorIs(t, err, git.ErrProtocol)
}

func TestLFSLimits(t *testing.T) {
	s := newStorage(t, git.Auth{})
	a, b := s.put("a", "12345"), s.put("b", "6789")
	for name, lim := range map[string]git.Limits{"ObjectSize": {ObjectSize: 4}, "Inflated": {Inflated: 8}} {
		s.opts.Limits = lim
		_, err := s.download(b, a)
		var limit *git.LimitError
		require.ErrorAs(t, err, &limit)
		require.Equal(t, name, limit.Name)
		require.ErrorContains(t, err, `"a"`)
		_, err = s.download(b, b)
		require.NoError(t, err)
	}
	require.Equal(t, 2, s.saw("batch"), "nobody is asked for what is too large")

	limit := errors.New("enough bytes")
	err := git.LFSDownload(t.Context(), s.url, s.opts, []git.LFSFile{b}, func(int) error { return limit },
		func(git.LFSFile, io.Reader) error { return nil })
	require.ErrorIs(t, err, limit)
}

// An address that expired is asked for again.
func TestLFSExpires(t *testing.T) {
	s := newStorage(t, git.Auth{})
	a, b := s.put("a", "1"), s.put("b", "2")
	batches := 0
	s.Answer = func(_ http.ResponseWriter, _ *http.Request, answer *gitserver.LFSAnswer) bool {
		batches++
		require.Len(t, answer.Objects, 3-batches, "only what is missing")
		if batches == 1 {
			answer.Objects[1].Actions["download"].ExpiresIn = -1
			answer.Objects[1].Actions["download"].ExpiresAt = "2999-01-01T00:00:00Z" // less than the other
		}
		return true
	}
	got, err := s.download(a, b)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, got)
	require.Equal(t, 2, batches)

	expires := func(at string) {
		s.answer(func(o *gitserver.LFSObject) { o.Actions["download"].ExpiresAt = at })
	}
	expires("2001-02-03T04:05:06Z")
	_, err = s.download(a)
	require.ErrorIs(t, err, git.ErrLFS)
	require.ErrorContains(t, err, "expired")
	for _, never := range []string{"0001-01-01T00:00:00Z", "soon", time.Now().Add(time.Hour).Format(time.RFC3339)} {
		expires(never)
		_, err = s.download(a)
		require.NoError(t, err, never)
	}
}

func TestLFSHeaders(t *testing.T) {
	s := newStorage(t, git.Auth{})
	f := s.put("a", "content")
	s.answer(func(o *gitserver.LFSObject) {
		o.Actions["download"].Header = map[string]string{"x-token": "t", "Host": "elsewhere.example", "Content-Length": "5", "Accept-Encoding": "br"}
	})
	_, err := s.download(f)
	require.NoError(t, err)
	last := s.requests[1]
	require.Equal(t, "t", last.Header.Get("X-Token"))
	require.Empty(t, last.Header.Get("Host")+last.Header.Get("Content-Length")+last.Header.Get("Accept-Encoding"))
	require.Equal(t, last.URL.Host, last.Host)
}

func TestLFSOverSSH(t *testing.T) {
	s := newTLSStorage(t)
	f := s.put("a", "content")
	user := sshSigner(t)
	var answer string
	var asked error
	server, err := gitserver.ServeSSH(t.Context(), t.TempDir(), gitserver.SSHOptions{
		Keys: []ssh.PublicKey{user.Key()},
		LFS: func(repo string) (string, error) {
			if repo != "/it's/repo.git" {
				return "", fmt.Errorf("no repository %s", repo)
			}
			return answer, asked
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	key, err := user.PrivateKey()
	require.NoError(t, err)
	href := strings.TrimSuffix(s.url, "/org/repo.git") + "/any/info/lfs"
	s.use(server.URL+"/it's/repo.git", git.Options{CABundle: s.opts.CABundle, Auth: git.Auth{SSHKey: key, KnownHosts: server.KnownHosts}})

	say := func(href string, more string) {
		answer = fmt.Sprintf(`{"href": %q, "header": {"Authorization": "RemoteAuth some-token"}%s}`, href, more)
	}
	say(href, "")
	s.Answer = func(_ http.ResponseWriter, req *http.Request, a *gitserver.LFSAnswer) bool {
		require.Equal(t, "RemoteAuth some-token", req.Header.Get("Authorization"))
		return true
	}
	got, err := s.download(f)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "content"}, got)
	require.Empty(t, s.requests[1].Header.Get("Authorization"), "the token is for the batch API")

	say(href, `, "expires_in": -5`)
	_, err = s.download(f)
	require.ErrorIs(t, err, git.ErrLFS)
	require.ErrorContains(t, err, "expired")

	say("http"+strings.TrimPrefix(href, "https"), "")
	_, err = s.download(f)
	require.ErrorIs(t, err, git.ErrProtocol)
	require.ErrorContains(t, err, "plain HTTP")

	say(href, "")
	s.answer(func(o *gitserver.LFSObject) {
		o.Error = &gitserver.LFSError{Code: 500, Message: "you sent RemoteAuth some-token"}
	})
	_, err = s.download(f)
	require.ErrorIs(t, err, git.ErrLFS)
	require.NotContains(t, err.Error(), "some-token")

	say("", "") // at the guessed place: the host without the port of SSH, where nobody listens
	before := len(s.requests)
	_, err = s.download(f)
	require.ErrorIs(t, err, git.ErrUnreachable)
	require.Equal(t, "https://127.0.0.1/it%27s/repo.git/info/lfs/objects/batch", s.requests[before].URL.String())

	for _, bad := range []string{"", "Welcome!", strings.Repeat(" ", 65<<10)} {
		answer = bad
		_, err = s.download(f)
		require.ErrorIs(t, err, git.ErrProtocol, bad)
	}
	asked = errors.New("not for you")
	_, err = s.download(f)
	require.ErrorIs(t, err, git.ErrLFS)
	require.ErrorContains(t, err, "not for you")
}

// The other side of the client must be what it says.
func TestLFSStandIn(t *testing.T) {
	server := &gitserver.LFS{}
	pointer := server.Put([]byte("hello\n"))
	require.Contains(t, string(pointer), fmt.Sprintf("oid sha256:%x\nsize 6\n", sha256.Sum256([]byte("hello\n"))))
	h := httptest.NewServer(server)
	t.Cleanup(h.Close)
	resp, err := http.Post(h.URL+"/r/info/lfs/objects/batch", "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusNotAcceptable, resp.StatusCode)
	var a gitserver.LFSAnswer
	require.NoError(t, json.Unmarshal([]byte(`{"objects":[{"oid":"x"}]}`), &a))
	require.Equal(t, "x", a.Objects[0].OID)
}
