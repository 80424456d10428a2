package git

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// lfsClient fetches large files for one repository: by the batch API of Git LFS
// it asks where they are, by the basic transfer it gets them.
type lfsClient struct {
	// web sends the requests. It holds the credentials of the remote, for its
	// origin and no other.
	web     *httpTransport
	secrets *secrets
	// access says where the batch API is, and how to be let in. It is asked
	// before each batch, so that what it says is not outdated.
	access func(context.Context) (lfsAction, error)
	secure bool // plain HTTP is refused
	limits Limits
	// received, if not nil, hears of every byte that arrives. Its error ends
	// the download. It is called from several goroutines.
	received func(n int) error
	idle     func() // closes idle connections
}

// newLFSClient makes a client for the repository at an address that transport
// talks to. It sends nothing.
//
// A repository at https://host/path has its large files at
// https://host/path.git/info/lfs. For one over SSH the command
// git-lfs-authenticate on its server says where they are and how to be let in;
// a server without that command gives none. What .lfsconfig says is not
// regarded: who can write to the repository does not choose the servers that
// this process talks to.
func newLFSClient(u *url.URL, t transport, opts Options, hide *secrets) (*lfsClient, error) {
	c := &lfsClient{secure: u.Scheme != "http", limits: opts.Limits.withDefaults(), secrets: hide}
	endpoint := lfsEndpoint(u)
	switch t := t.(type) {
	case *httpTransport:
		c.web, c.idle = t, func() {}
		c.access = func(context.Context) (lfsAction, error) { return lfsAction{Href: endpoint}, nil }
	case *sshTransport:
		web, err := newHTTPTransport(u, Options{WrapTransport: opts.WrapTransport}, t.way, hide)
		if err != nil {
			return nil, err
		}
		c.web, c.idle = web, web.idle
		c.access = func(ctx context.Context) (lfsAction, error) { return t.lfsAccess(ctx, endpoint) }
	default:
		return nil, fmt.Errorf("%w: not over this transport", ErrLFS)
	}
	return c, nil
}

// close drops connections that are kept for later, but for those that the
// remote keeps.
func (c *lfsClient) close() { c.idle() }

// lfsEndpoint guesses the LFS server from the address of a repository.
func lfsEndpoint(u *url.URL) string {
	at := &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}
	if u.Scheme == "ssh" {
		at.Scheme, at.Host = "https", u.Hostname()
		if strings.Contains(at.Host, ":") {
			at.Host = "[" + at.Host + "]"
		}
	}
	if !strings.HasSuffix(at.Path, ".git") {
		at.Path += ".git"
	}
	return at.JoinPath("info/lfs").String()
}

// lfsAction is how to get something: an address, and headers to send.
type lfsAction struct {
	Href      string            `json:"href"`
	Header    map[string]string `json:"header"`
	ExpiresIn float64           `json:"expires_in"` // seconds; rather than ExpiresAt
	ExpiresAt string            `json:"expires_at"`

	expires time.Time // zero: never
	// authenticated: the credentials of the remote are not to be sent along.
	authenticated bool
}

// arrived notes when the action expires, by our clock.
func (a *lfsAction) arrived(now time.Time) {
	const most = 1<<31 - 1
	if a.ExpiresIn != 0 {
		a.expires = now.Add(time.Duration(max(-most, min(most, a.ExpiresIn)) * float64(time.Second)))
	} else if at, err := time.Parse(time.RFC3339, a.ExpiresAt); err == nil && !at.IsZero() {
		a.expires = at
	}
}

func (a lfsAction) expired() bool { return !a.expires.IsZero() && time.Now().After(a.expires) }

// lfsSink takes the content of a file. It may use what it read only after the
// reader has returned io.EOF, which says that the content is right.
type lfsSink func(f LFSFile, content io.Reader) error

// download gives the content of files to sink: once for each content, with the
// first of the files that have it. Calls for different files may overlap. The
// first error ends it.
//
// It refuses before it asks anybody: a file that is larger than
// Limits.ObjectSize, and files that together are larger than Limits.Inflated.
func (c *lfsClient) download(ctx context.Context, files []LFSFile, sink lfsSink) error {
	const most = 100 // in one batch, as servers expect
	distinct, err := c.plan(files)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(distinct, most) {
		if err := c.chunk(ctx, chunk, sink); err != nil {
			return err
		}
	}
	return nil
}

// plan returns one file for each content.
func (c *lfsClient) plan(files []LFSFile) ([]LFSFile, error) {
	sizes := map[string]int64{}
	var distinct []LFSFile
	var total int64
	for _, f := range files {
		if f.Extended {
			return nil, &LFSError{LFSFile: f, Message: "LFS extensions have changed it, which only git lfs on the committer's machine can undo"}
		}
		size, known := sizes[f.OID]
		if known && size != f.Size {
			return nil, fmt.Errorf("%w: %q: its pointer says another size than that of a file with the same content", ErrMalformed, clip(f.Path))
		}
		if known {
			continue
		}
		if f.Size > c.limits.ObjectSize {
			return nil, fmt.Errorf("%q: %w", clip(f.Path), &LimitError{"ObjectSize", c.limits.ObjectSize})
		}
		if total += f.Size; total > c.limits.Inflated {
			return nil, fmt.Errorf("%q: %w", clip(f.Path), &LimitError{"Inflated", c.limits.Inflated})
		}
		sizes[f.OID] = f.Size
		distinct = append(distinct, f)
	}
	return distinct, nil
}

// chunk fetches the files of one batch. An address that expired before its turn
// came is asked for again.
func (c *lfsClient) chunk(ctx context.Context, files []LFSFile, sink lfsSink) error {
	const tries = 3
	for range tries {
		actions, err := c.batch(ctx, files)
		if err != nil {
			return err
		}
		if files, err = c.transfer(ctx, files, actions, sink); err != nil || len(files) == 0 {
			return err
		}
	}
	return &LFSError{LFSFile: files[0], Message: "its address has always expired already; compare the clocks"}
}

// lfsAtOnce is how many files arrive at the same time.
const lfsAtOnce = 4

// transfer fetches a few files at a time, and returns those whose address had
// expired.
func (c *lfsClient) transfer(ctx context.Context, files []LFSFile, actions map[string]lfsAction, sink lfsSink) (again []LFSFile, err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	todo := make(chan LFSFile, len(files))
	for _, f := range files {
		todo <- f
	}
	close(todo)
	var mu sync.Mutex
	var running sync.WaitGroup
	for range min(lfsAtOnce, len(files)) {
		running.Go(func() {
			for f := range todo {
				if action := actions[f.OID]; action.expired() {
					mu.Lock()
					again = append(again, f)
					mu.Unlock()
				} else if err := c.fetch(ctx, f, action, sink); err != nil {
					stop(err) // and with it the others, whose errors say less
					return
				}
			}
		})
	}
	running.Wait()
	return again, context.Cause(ctx)
}

// fetch gets one file.
func (c *lfsClient) fetch(ctx context.Context, f LFSFile, action lfsAction, sink lfsSink) error {
	fail := func(err error) error { return fmt.Errorf("large file %q: %w", clip(f.Path), err) }
	resp, err := c.send(ctx, http.MethodGet, action, nil)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; code {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone, http.StatusUnprocessableEntity:
		return &LFSError{LFSFile: f, Code: code}
	default:
		return fail(lfsStatus(resp))
	}
	content := &lfsReader{r: lfsMeter{resp.Body, c.received}, hash: sha256.New(), file: f}
	if err := sink(f, content); err != nil {
		return fail(err)
	}
	if _, err := io.Copy(io.Discard, content); err != nil { // what sink left
		return fail(err)
	}
	return nil
}

// send sends a request and follows redirects. Headers, and the credentials of
// the remote, are for the first origin; whoever is behind another gets none.
func (c *lfsClient) send(ctx context.Context, method string, action lfsAction, body []byte) (*http.Response, error) {
	const redirects = 5
	target, err := url.Parse(action.Href)
	if err != nil {
		return nil, fmt.Errorf("%w: the address of a large file cannot be parsed", ErrProtocol)
	}
	header := action.headers()
	trusted := !action.authenticated && header.Get("Authorization") == ""
	for range redirects + 1 {
		if err := c.allowed(target); err != nil {
			return nil, err
		}
		resp, err := c.roundTrip(ctx, method, target, header, trusted, body)
		if err != nil {
			return nil, err
		}
		next, err := lfsRedirect(resp)
		if err != nil || next == nil {
			return resp, err
		}
		if origin(next) != origin(target) {
			header, trusted = nil, false
		}
		target = next
	}
	return nil, fmt.Errorf("%w: more than %d redirects on the way to a large file", ErrProtocol, redirects)
}

// headers are those that the action asks for.
func (a lfsAction) headers() http.Header {
	header := http.Header{}
	for name, value := range a.Header {
		switch name = http.CanonicalHeaderKey(name); name {
		case "Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Te", "Trailer", "Range", "Accept-Encoding":
			// What belongs to the connection, and what would change the answer.
		default:
			header.Set(name, value)
		}
	}
	return header
}

// allowed checks an address that a server gave.
func (c *lfsClient) allowed(u *url.URL) error {
	var why string
	switch {
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		why = "it is not one of http or https"
	case u.Scheme == "http" && c.secure:
		why = "it is plain HTTP, and the repository is not"
	case u.User != nil:
		why = "it holds a user or a password"
	default:
		return nil
	}
	return fmt.Errorf("%w: the address of a large file is refused: %s", ErrProtocol, why)
}

const lfsMediaType = "application/vnd.git-lfs+json"

// roundTrip sends one request; if it is trusted, with the credentials of the
// remote in case it goes to its origin.
func (c *lfsClient) roundTrip(ctx context.Context, method string, target *url.URL, header http.Header, trusted bool, body []byte) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), content)
	if err != nil {
		return nil, fmt.Errorf("%w: the address of a large file cannot be parsed", ErrProtocol)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("User-Agent", userAgent)
	if body != nil {
		req.Header.Set("Accept", lfsMediaType)
		req.Header.Set("Content-Type", lfsMediaType)
	}
	send := c.web.roundTrip
	if trusted {
		send = c.web.send
	}
	resp, err := send(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	return resp, nil
}

// lfsRedirect returns where a redirect leads, nil if the response is none.
func lfsRedirect(resp *http.Response) (*url.URL, error) {
	switch resp.StatusCode {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		if resp.Request.Method != http.MethodGet {
			resp.Body.Close()
			return nil, fmt.Errorf("%w: redirect of a POST refused (status %d)", ErrProtocol, resp.StatusCode)
		}
	default:
		return nil, nil
	}
	resp.Body.Close()
	next, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("%w: redirect refused: it leads nowhere", ErrProtocol)
	}
	if resp.Request.URL.Scheme == "https" && next.Scheme != "https" {
		return nil, fmt.Errorf("%w: redirect refused: it leads from https to another scheme", ErrProtocol)
	}
	return next, nil
}

// lfsStatus makes an error of a response that is not what was hoped for.
func lfsStatus(resp *http.Response) error {
	host := clip(resp.Request.URL.Host)
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized && resp.Request.Header.Get("Authorization") == "":
		return fmt.Errorf("%w: %s wants them for large files", ErrAuthRequired, host)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%w: by %s, for large files (status %d); check what the credentials may read", ErrAuthRefused, host, code)
	case code == http.StatusNotFound, code == http.StatusGone, code == http.StatusMethodNotAllowed, code == http.StatusNotImplemented:
		return fmt.Errorf("%w: %s has no large file storage for this repository, or hides it (status %d)", ErrLFS, host, code)
	case code == http.StatusTooManyRequests, code >= 500:
		return fmt.Errorf("%w: %s: status %d; try again later", ErrUnreachable, host, code)
	default:
		return fmt.Errorf("%w: %s: status %d", ErrProtocol, host, code)
	}
}

// lfsMeter reports what is read.
type lfsMeter struct {
	r        io.Reader
	received func(n int) error
}

func (m lfsMeter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if n > 0 && m.received != nil {
		if err := m.received(n); err != nil {
			return 0, err
		}
	}
	return n, err
}

// lfsReader reads the content of a file, and ends well only if it is that.
type lfsReader struct {
	r    io.Reader
	hash hash.Hash
	file LFSFile
	read int64
	end  error
}

func (r *lfsReader) Read(p []byte) (int, error) {
	if r.end != nil {
		return 0, r.end
	}
	if left := r.file.Size - r.read; int64(len(p)) > left+1 {
		p = p[:left+1] // one more than there may be, to find out
	}
	n, err := r.r.Read(p)
	r.read += int64(n)
	r.hash.Write(p[:n])
	switch {
	case r.read > r.file.Size:
		r.end = fmt.Errorf("%w: the server sends more than the %d bytes of the file", ErrProtocol, r.file.Size)
		return 0, r.end
	case errors.Is(err, io.EOF):
		r.end = r.verdict()
		err = r.end
	case err != nil:
		r.end = fmt.Errorf("%w: %w", ErrUnreachable, err)
		err = r.end
	}
	return n, err
}

// verdict is io.EOF if the content is right.
func (r *lfsReader) verdict() error {
	if r.read < r.file.Size {
		return fmt.Errorf("%w: the server sent %d of the %d bytes of the file", ErrProtocol, r.read, r.file.Size)
	}
	if got := fmt.Sprintf("%x", r.hash.Sum(nil)); got != r.file.OID {
		return fmt.Errorf("%w: the server sent other content: SHA-256 %s, not %s", ErrProtocol, got, r.file.OID)
	}
	return io.EOF
}

// lfsBatch is a request, and lfsAnswer the response, of the batch API.
type lfsBatch struct {
	Operation string        `json:"operation"`
	Transfers []string      `json:"transfers"`
	Objects   []lfsAskedFor `json:"objects"`
	HashAlgo  string        `json:"hash_algo"`
}

type lfsAskedFor struct {
	OID  string `json:"oid"`
	Size int64  `json:"size"`
}

type lfsAnswer struct {
	Transfer string `json:"transfer"`
	HashAlgo string `json:"hash_algo"`
	Objects  []struct {
		OID           string `json:"oid"`
		Authenticated bool   `json:"authenticated"`
		Actions       struct {
			Download *lfsAction `json:"download"`
		} `json:"actions"`
		Error *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	} `json:"objects"`
}

// batch asks where files are.
func (c *lfsClient) batch(ctx context.Context, files []LFSFile) (map[string]lfsAction, error) {
	access, err := c.access(ctx)
	if err != nil {
		return nil, err
	}
	access.Href += "/objects/batch"
	ask := lfsBatch{Operation: "download", Transfers: []string{"basic"}, HashAlgo: "sha256"}
	for _, f := range files {
		ask.Objects = append(ask.Objects, lfsAskedFor{f.OID, f.Size})
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, http.MethodPost, access, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, lfsStatus(resp)
	}
	answer, err := c.readAnswer(resp)
	if err != nil {
		return nil, err
	}
	c.secrets.add(access.secrets()...)
	return answer.actions(files, c.secrets)
}

func (c *lfsClient) readAnswer(resp *http.Response) (*lfsAnswer, error) {
	const most = 8 << 20
	raw, err := io.ReadAll(io.LimitReader(lfsMeter{resp.Body, c.received}, most+1))
	host := clip(resp.Request.URL.Host)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, host, err)
	}
	if len(raw) > most {
		return nil, fmt.Errorf("%w: %s says more than %d bytes about a few large files", ErrProtocol, host, most)
	}
	answer := &lfsAnswer{}
	if err := json.Unmarshal(raw, answer); err != nil {
		return nil, fmt.Errorf("%w: %s does not answer as a server for large files does", ErrProtocol, host)
	}
	return answer, nil
}

// actions returns how to get each of the files that were asked for.
func (a *lfsAnswer) actions(files []LFSFile, hide *secrets) (map[string]lfsAction, error) {
	if a.Transfer != "" && a.Transfer != "basic" || a.HashAlgo != "" && a.HashAlgo != "sha256" {
		return nil, fmt.Errorf("%w: the server for large files wants transfer %q and hash %q, which nobody offered",
			ErrProtocol, clip(a.Transfer), clip(a.HashAlgo))
	}
	asked := map[string]LFSFile{}
	for _, f := range files {
		asked[f.OID] = f
	}
	actions := map[string]lfsAction{}
	now := time.Now()
	for _, o := range a.Objects {
		f, ok := asked[o.OID]
		if _, twice := actions[o.OID]; !ok || twice {
			return nil, fmt.Errorf("%w: the server for large files answers what was not asked", ErrProtocol)
		}
		if o.Error != nil {
			return nil, &LFSError{LFSFile: f, Code: o.Error.Code, Message: clip(hide.redact(o.Error.Message))}
		}
		if o.Actions.Download == nil {
			return nil, &LFSError{LFSFile: f, Message: "the server does not say where it is"}
		}
		action := *o.Actions.Download
		action.authenticated = o.Authenticated
		action.arrived(now)
		actions[o.OID] = action
	}
	for _, f := range files {
		if _, ok := actions[f.OID]; !ok {
			return nil, &LFSError{LFSFile: f, Message: "the server does not say where it is"}
		}
	}
	return actions, nil
}

// secrets are what a server could repeat that was let in with an action.
func (a lfsAction) secrets() []string {
	var s []string
	for _, value := range a.Header {
		for secret := range strings.FieldsSeq(value) {
			const word = 8 // shorter ones name a scheme
			if len(secret) >= word {
				s = append(s, secret)
			}
		}
	}
	return s
}
