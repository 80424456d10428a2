package git_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gitopskit/gitopskit/git"
)

// The helpers must make what is accepted, or the attacks prove nothing.
func TestHostileServer2CanBeHonest(t *testing.T) {
	commit, entries := tiny("hello\n")
	r := (&hostile2{refs: oneRef2(commit), pack: pack(3, entries...)}).serve(t, git.Options{})
	require.NoError(t, fetchHostile(t, r))
	shallow := func(w http.ResponseWriter, _ string) {
		io.WriteString(w, pkt("acknowledgments\n")+pkt("NAK\n")+"0001"+pkt("shallow-info\n")+pkt("shallow "+commit+"\n")+"0001")
		answer2(w, pack(3, entries...))
	}
	r = (&hostile2{refs: oneRef2(commit), fetch: shallow}).serve(t, git.Options{})
	require.NoError(t, fetchHostile(t, r))
}

func TestAttackGreetingsOfVersion2(t *testing.T) {
	for name, hello := range map[string]string{
		"many capabilities": hello2 + strings.Repeat(pkt("x=y\n"), 200) + "0000",
		"cut off":           hello2 + pkt("ls-refs\n"),
		"delimiter":         hello2 + pkt("ls-refs\n") + "0001",
		"response end":      hello2 + "0002",
		"an error":          hello2 + pkt("ERR canary\x1b[31m"),
		"bad length":        hello2 + "zzzz",
		"version 3":         pkt("version 3\n") + "0000",
		"nothing":           "",
		"flush":             "0000",
	} {
		t.Run(name, func(t *testing.T) {
			if hello == "" {
				hello = "0004"
			}
			r := (&hostile2{greeting: hello, refs: oneRef2(zeros)}).serve(t, git.Options{})
			_, err := r.Resolve(t.Context(), git.Ref{Branch: "main"})
			require.Error(t, err)
			require.NotContains(t, err.Error(), "\x1b")
			require.Less(t, len(err.Error()), 600)
		})
	}
	t.Run("SHA-256", func(t *testing.T) {
		r := (&hostile2{greeting: hello2 + pkt("object-format=sha256\n") + "0000"}).serve(t, git.Options{})
		_, err := r.Resolve(t.Context(), git.Ref{Branch: "main"})
		require.ErrorIs(t, err, git.ErrObjectFormat)
	})
}

func TestAttackReferencesOfVersion2(t *testing.T) {
	good := pkt(zeros + " refs/heads/other\n")
	for name, refs := range map[string]string{
		"twice":              good + good + "0000",
		"short id":           pkt("0123 refs/heads/main\n") + "0000",
		"long id":            pkt(zeros+zeros[:24]+" refs/heads/main\n") + "0000",
		"capitals":           pkt(strings.ToUpper(zeros)+" refs/heads/main\n") + "0000",
		"null id":            pkt(strings.Repeat("0", 40)+" refs/heads/main\n") + "0000",
		"no name":            pkt(zeros+"\n") + "0000",
		"empty name":         pkt(zeros+" \n") + "0000",
		"path":               pkt(zeros+" refs/heads/../../x\n") + "0000",
		"option":             pkt(zeros+" --upload-pack=x\n") + "0000",
		"outside refs":       pkt(zeros+" config\n") + "0000",
		"control character":  pkt(zeros+" refs/heads/a\x1b[31m\n") + "0000",
		"NUL":                pkt(zeros+" refs/heads/main\x00x\n") + "0000",
		"bad peeled":         pkt(zeros+" refs/tags/v1 peeled:xyz\n") + "0000",
		"delimiter":          good + "0001",
		"delimiter, more":    good + "0001" + good + "0000",
		"response end":       good + "0002",
		"unborn, no name":    pkt("unborn\n") + "0000",
		"an empty line":      pkt("") + "0000",
		"an error":           pkt("ERR broken\x1b[31m"),
		"a word":             pkt("hello") + "0000",
		"a pack":             packHead + "0000",
		"very long name":     pkt(zeros+" refs/heads/"+strings.Repeat("a", 5000)+"\n") + "0000",
		"impossible lengths": "0003",
	} {
		t.Run(name, func(t *testing.T) {
			r := (&hostile2{refs: refs}).serve(t, git.Options{})
			_, err := r.Resolve(t.Context(), git.Ref{Branch: "main"})
			require.ErrorIs(t, err, git.ErrProtocol)
			require.NotContains(t, err.Error(), "\x1b")
			require.Less(t, len(err.Error()), 600)
		})
	}
	t.Run("cut off", func(t *testing.T) {
		r := (&hostile2{refs: good}).serve(t, git.Options{})
		_, err := r.Resolve(t.Context(), git.Ref{Branch: "main"})
		require.ErrorIs(t, err, git.ErrUnreachable)
	})
	t.Run("HEAD leads to a bad name", func(t *testing.T) {
		for _, target := range []string{"refs/heads/../x", "--x", "main", "refs/heads/a\x1bb", ""} {
			r := (&hostile2{refs: pkt(zeros+" HEAD symref-target:"+target+"\n") + "0000"}).serve(t, git.Options{})
			rev, err := r.Resolve(t.Context(), git.Ref{})
			require.NoError(t, err)
			require.Equal(t, git.Revision{Name: "HEAD", Commit: zeros}, rev)
		}
	})
}

func TestAttackEndlessReferencesOfVersion2(t *testing.T) {
	var sent atomic.Int64
	for name, line := range map[string]func(int) string{
		"many": func(i int) string { return pkt(fmt.Sprintf("%s refs/heads/b%d\n", zeros, i)) },
		"attributes": func(i int) string {
			return pkt(fmt.Sprintf("%s refs/heads/b%d%s\n", zeros, i, strings.Repeat(" a:b", 1000)))
		},
		"unborn": func(int) string { return pkt("unborn HEAD symref-target:refs/heads/main\n") },
	} {
		t.Run(name, func(t *testing.T) {
			sent.Store(0)
			handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.Method == http.MethodGet {
					(&hostile2{}).ServeHTTP(w, req)
					return
				}
				w.Header().Set("Content-Type", result)
				for i := 0; ; i++ {
					n, err := io.WriteString(w, line(i))
					if sent.Add(int64(n)); err != nil {
						return
					}
				}
			})
			r := hostile{get: handler, post: handler}.serve(t, git.Options{Limits: git.Limits{References: 20_000}, Engine: git.EngineFast})
			_, err := r.Resolve(t.Context(), git.Ref{})
			requireLimit(t, err, "References")
			require.Less(t, sent.Load(), int64(20_000*256+32<<20), "the server was cut off")
		})
	}
}

func TestAttackSectionsOfVersion2(t *testing.T) {
	commit, entries := tiny("hello\n")
	good := pack(3, entries...)
	for name, tt := range map[string]struct {
		answer string
		want   error
	}{
		"nothing":                       {"", git.ErrUnreachable},
		"flush":                         {"0000", git.ErrProtocol},
		"delimiter first":               {"0001" + packHead + string(sidebands(good)), git.ErrProtocol},
		"response end first":            {"0002", git.ErrProtocol},
		"a section that ends it all":    {pkt("acknowledgments\n") + pkt("NAK\n") + "0000", git.ErrProtocol},
		"a section that never ends":     {pkt("acknowledgments\n") + pkt("NAK\n"), git.ErrUnreachable},
		"acknowledgments for ever":      {pkt("acknowledgments\n") + strings.Repeat(pkt("ACK "+zeros+"\n"), 110_000), git.ErrProtocol},
		"an error":                      {pkt("ERR not now\x1b[31m"), git.ErrProtocol},
		"it has not got it":             {pkt("ERR upload-pack: not our ref " + commit), git.ErrCommitUnavailable},
		"an error in a section":         {pkt("acknowledgments\n") + pkt("ERR not now"), git.ErrProtocol},
		"an error in the pack":          {packHead + pkt("\x03fatal: canary\x1b[31m") + "0000", git.ErrProtocol},
		"an error after some":           {packHead + pkt("\x01"+string(good[:30])) + pkt("\x03fatal") + "0000", git.ErrProtocol},
		"unknown channel":               {packHead + pkt("\x07x") + "0000", git.ErrProtocol},
		"delimiter in the pack":         {packHead + pkt("\x01"+string(good[:30])) + "0001" + pkt("\x01"+string(good[30:])) + "0000", git.ErrMalformed},
		"response end in the pack":      {packHead + pkt("\x01"+string(good[:30])) + "0002", git.ErrMalformed},
		"flush in the pack":             {packHead + pkt("\x01"+string(good[:30])) + "0000", git.ErrMalformed},
		"connection ends in the pack":   {packHead + pkt("\x01"+string(good[:30])), git.ErrUnreachable},
		"more data after the pack":      {packHead + pkt("\x01"+string(good)) + pkt("\x01x") + "0000", git.ErrMalformed},
		"no pack in its section":        {packHead + "0000", git.ErrMalformed},
		"a section of an unheard name":  {pkt("\x1b[31m\n") + pkt("x\n") + "0000", git.ErrProtocol},
		"sections of version 0":         {pkt("NAK\n") + string(sidebands(good)), git.ErrProtocol},
		"empty packets before the pack": {strings.Repeat(pkt(""), 100) + packHead, git.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			fetch := func(w http.ResponseWriter, _ string) { io.WriteString(w, tt.answer) }
			r := (&hostile2{refs: oneRef2(commit), fetch: fetch}).serve(t, git.Options{Limits: git.Limits{History: -1}})
			err := fetchHostile(t, r)
			if tt.want == git.ErrProtocol && name == "empty packets before the pack" {
				require.Error(t, err)
				return
			}
			require.ErrorIs(t, err, tt.want)
			require.NotContains(t, err.Error(), "\x1b")
		})
	}
	for name, line := range map[string]string{
		"progress for ever":      pkt("\x02counting"),
		"empty packets for ever": pkt(""),
		"empty data for ever":    pkt("\x01"),
	} {
		t.Run(name, func(t *testing.T) {
			many := strings.Repeat(line, 1000)
			fetch := func(w http.ResponseWriter, _ string) {
				io.WriteString(w, packHead)
				for {
					if _, err := io.WriteString(w, many); err != nil {
						return
					}
				}
			}
			r := (&hostile2{refs: oneRef2(commit), fetch: fetch}).serve(t, git.Options{Limits: git.Limits{Bytes: 1 << 20}})
			requireLimit(t, fetchHostile(t, r), "Bytes")
		})
	}
	t.Run("sections for ever", func(t *testing.T) {
		fetch := func(w http.ResponseWriter, _ string) {
			for {
				if _, err := io.WriteString(w, pkt("x\n")+"0001"); err != nil {
					return
				}
			}
		}
		r := (&hostile2{refs: oneRef2(commit), fetch: fetch}).serve(t, git.Options{Limits: git.Limits{Bytes: 1 << 20}})
		requireLimit(t, fetchHostile(t, r), "Bytes")
	})
}

// A server that fails while it is asked which of two tags is the younger must
// not make a Revision of nothing.
func TestAttackVersionsThatCannotBeTold(t *testing.T) {
	refs := pkt(zeros+" refs/tags/v1.0.0+a\n") + pkt(zeros[1:]+"0 refs/tags/v1.0.0+b\n") + "0000"
	for name, answer := range map[string]string{
		"refused":    pkt("ERR no"),
		"nothing":    "",
		"not a pack": packHead + pkt("\x01hello") + "0000",
		"empty pack": packHead + string(sidebands(pack(0))),
	} {
		t.Run(name, func(t *testing.T) {
			fetch := func(w http.ResponseWriter, _ string) { io.WriteString(w, answer) }
			r := (&hostile2{refs: refs, fetch: fetch}).serve(t, git.Options{})
			rev, err := r.Resolve(t.Context(), git.Ref{SemVer: "*"})
			require.Error(t, err)
			require.Equal(t, git.Revision{}, rev)
		})
	}
}

// A reference that appears between two lists is found.
func TestResolveWhatWasJustPushed(t *testing.T) {
	var asked atomic.Int64
	server := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h := &hostile2{refs: "0000"}
		if req.Method == http.MethodPost && asked.Add(1) > 1 {
			h.refs = oneRef2(zeros)
		}
		h.ServeHTTP(w, req)
	})
	r := hostile{get: server.ServeHTTP, post: server.ServeHTTP}.serve(t, git.Options{})
	rev, err := r.Resolve(t.Context(), git.Ref{Branch: "main"})
	require.NoError(t, err)
	require.Equal(t, git.Revision{Name: "main", Commit: zeros}, rev)
}

// Truncated at every byte and with every bit flipped, a pack is never anything
// but an error, or the very same tree.
func TestAttackEveryByteOfAPack(t *testing.T) {
	_, entries := tiny("hello hello hello\n")
	base, err := hex.DecodeString(hashOf("blob", []byte("hello hello hello\n")))
	require.NoError(t, err)
	entries = append(entries, packed{7, -1, base, []byte{18, 5, 0x90, 5}})
	good := pack(4, entries...)
	objects, err := git.PackObjects(t.Context(), good, nil, git.Limits{})
	require.NoError(t, err)
	require.Len(t, objects, 4)
	for n := range good {
		_, err := git.PackObjects(t.Context(), good[:n], nil, git.Limits{})
		require.Error(t, err, n)
	}
	for i := range len(good) * 8 {
		bad := bytes.Clone(good)
		bad[i/8] ^= 1 << (i % 8)
		_, err := git.PackObjects(t.Context(), bad, nil, git.Limits{})
		require.Error(t, err, i)
	}
}

// deflated with a dictionary that nobody has.
func withDictionary(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zlib.NewWriterLevelDict(&b, zlib.BestSpeed, []byte("dictionary"))
	require.NoError(t, err)
	z.Write(content)
	z.Close()
	return b.Bytes()
}

func TestAttackPackEntries(t *testing.T) {
	commit, entries := tiny("hello\n")
	id := func(kind string, content []byte) []byte {
		hash, err := hex.DecodeString(hashOf(kind, content))
		require.NoError(t, err)
		return hash
	}
	self := id("blob", []byte("hello\n"))
	whole := []byte{6, 6, 0x90, 6}
	with := func(e ...packed) []byte { return pack(3+uint32(len(e)), append(entries[:3:3], e...)...) }
	// What the delta of a delta of … makes is what it is based on.
	var cycle []packed
	a, b := bytes.Repeat([]byte{1}, 20), bytes.Repeat([]byte{2}, 20)
	cycle = append(cycle, packed{7, -1, a, whole}, packed{7, -1, b, whole}, packed{7, -1, a, whole})
	dictionary := pack(1)[:12]
	dictionary[11] = 1
	dictionary = append(append(dictionary, 0x30|5), withDictionary(t, []byte("hello"))...)
	dictionary = append(dictionary, make([]byte, 20)...)
	for name, raw := range map[string][]byte{
		"deltas of each other":     with(cycle...),
		"FDICT":                    dictionary,
		"type 0":                   with(packed{0, -1, nil, []byte("x")}),
		"sizes of a delta overrun": with(packed{7, -1, self, bytes.Repeat([]byte{0xff}, 12)}),
		"copy past 4 GiB":          with(packed{7, -1, self, []byte{6, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}),
		"copy cut off":             with(packed{7, -1, self, []byte{6, 6, 0xff}}),
		"insert cut off":           with(packed{7, -1, self, []byte{6, 6, 6, 'x'}}),
		"only sizes":               with(packed{7, -1, self, []byte{6, 6}}),
		"one size":                 with(packed{7, -1, self, []byte{6}}),
		"into another entry":       with(packed{6, -1, []byte{5}, whole}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := git.PackObjects(t.Context(), raw, nil, git.Limits{})
			require.ErrorIs(t, err, git.ErrMalformed)
			r := (&hostile2{refs: oneRef2(commit), pack: raw}).serve(t, git.Options{})
			require.ErrorIs(t, fetchHostile(t, r), git.ErrMalformed)
		})
	}
	t.Run("delta of a commit as a tree", func(t *testing.T) {
		// The delta makes bytes that would be a tree, but is a commit, as its base.
		tree := treeOf("100644 file", hashOf("blob", []byte("hello\n")))
		text := commitOf(hashOf("tree", tree))
		delta := append([]byte{byte(len(entries[0].data)) | 0x80, byte(len(entries[0].data) >> 7), byte(len(tree)), byte(len(tree))}, tree...)
		raw := pack(3, packed{1, -1, nil, text}, packed{7, -1, id("commit", text), delta}, entries[2])
		r := (&hostile2{refs: oneRef2(hashOf("commit", text)), pack: raw}).serve(t, git.Options{})
		require.ErrorIs(t, fetchHostile(t, r), git.ErrMalformed)
	})
	t.Run("a tag as a commit", func(t *testing.T) {
		text := []byte("object " + commit + "\ntype commit\ntag x\ntagger A <a@b> 1 +0000\n\nm\n")
		raw := pack(4, append(entries[:3:3], packed{4, -1, nil, text})...)
		r := (&hostile2{refs: oneRef2(hashOf("tag", text)), pack: raw}).serve(t, git.Options{})
		require.ErrorIs(t, fetchHostile(t, r), git.ErrMalformed)
	})
}

// Deltas without a base, and deltas that read much to make little, are cheap.
func TestAttackFloodsOfDeltas(t *testing.T) {
	const many = 20_000
	flood := func(n int, base func(i int) []byte, delta func(i int) []byte, first ...packed) []byte {
		all := first
		for i := range n {
			all = append(all, packed{7, -1, base(i), delta(i)})
		}
		return pack(uint32(len(all)), all...)
	}
	number := func(i int) []byte { return fmt.Appendf(nil, "%020d", i) }
	t.Run("without a base", func(t *testing.T) {
		raw := flood(many, number, func(int) []byte { return []byte{1, 1, 1, 'x'} })
		_, err := git.PackObjects(t.Context(), raw, nil, git.Limits{})
		require.ErrorIs(t, err, git.ErrMalformed)
	})
	large := bytes.Repeat([]byte("large"), 200_000) // less than what is read at once
	self, err := hex.DecodeString(hashOf("blob", large))
	require.NoError(t, err)
	size := []byte{0xc0, 0x84, 0x3d} // 1,000,000
	tiny := func(i int) []byte { return append(bytes.Clone(size), append([]byte{4, 4}, number(i)[16:]...)...) }
	for name, raw := range map[string][]byte{
		"of a large base":              flood(many, func(int) []byte { return self }, tiny, packed{3, -1, nil, large}),
		"of a large base that is last": append([]byte(nil), reversed(t, flood(many, func(int) []byte { return self }, tiny), packed{3, -1, nil, large})...),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := git.PackObjects(t.Context(), raw, nil, git.Limits{})
			require.NoError(t, err)
		})
	}
	t.Run("one that would take for ever is cancelled", func(t *testing.T) {
		// Copies of one byte each: cheap to send, and much to do.
		delta := append(bytes.Clone(size), 0xc0, 0x84, 0x3d)
		delta = append(delta, bytes.Repeat([]byte{0x90, 1}, 1_000_000)...)
		raw := flood(20, func(int) []byte { return self }, func(int) []byte { return delta }, packed{3, -1, nil, large})
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(100*time.Millisecond, cancel)
		defer timer.Stop()
		_, err := git.PackObjects(ctx, raw, nil, git.Limits{})
		require.ErrorIs(t, err, context.Canceled)
	})
}

// reversed puts an entry behind those of a pack.
func reversed(t *testing.T, raw []byte, last packed) []byte {
	t.Helper()
	one := pack(1, last)
	body := append(bytes.Clone(raw[12:len(raw)-20]), one[12:len(one)-20]...)
	count := uint32(raw[8])<<24 | uint32(raw[9])<<16 | uint32(raw[10])<<8 | uint32(raw[11])
	return sealed(count+1, body)
}

// What a server says after an honest fetch cannot change what a revision holds.
func TestAttackAfterAnHonestFetch(t *testing.T) {
	first, entries := tiny("hello\n")
	blob := []byte("second\n")
	tree := treeOf("100644 file", hashOf("blob", blob), "100644 same", hashOf("blob", []byte("hello\n")))
	text := append(commitOf(hashOf("tree", tree)), "second"...)
	second := hashOf("commit", text)
	thin := pack(3, packed{1, -1, nil, text}, packed{2, -1, nil, tree}, packed{3, -1, nil, blob})
	full := pack(4, packed{1, -1, nil, text}, packed{2, -1, nil, tree}, packed{3, -1, nil, blob}, entries[2])
	_, others := tiny("evil\n")
	unknown := bytes.Repeat([]byte{7}, 20)
	for name, tt := range map[string]struct {
		thin, full []byte
		requests   int64 // for the second commit
		want       error
	}{
		"honest":                     {thin, full, 1, nil},
		"leaves out too much":        {pack(2, packed{1, -1, nil, text}, packed{2, -1, nil, tree}), full, 2, nil},
		"sends nothing":              {pack(0), full, 2, nil},
		"sends others":               {pack(3, others...), full, 2, nil},
		"a base that nobody has":     {pack(1, packed{7, -1, unknown, []byte{1, 1, 1, 'x'}}), full, 2, nil},
		"a broken pack":              {thin[:len(thin)-1], full, 2, nil},
		"always others":              {pack(3, others...), pack(3, others...), 2, git.ErrMalformed},
		"always nothing":             {pack(0), pack(0), 2, git.ErrMalformed},
		"a thin pack, asked for all": {pack(0), thin, 2, git.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			server := &hostile2{refs: oneRef2(first)}
			server.fetch = func(w http.ResponseWriter, asked string) {
				switch {
				case strings.Contains(asked, "want "+first):
					answer2(w, pack(3, entries...))
				case strings.Contains(asked, "have "+first):
					requests.Add(1)
					io.WriteString(w, pkt("acknowledgments\n")+pkt("ACK "+first+"\n")+pkt("ready\n")+"0001")
					answer2(w, tt.thin)
				default:
					requests.Add(1)
					answer2(w, tt.full)
				}
			}
			r := server.serve(t, git.Options{})
			require.NoError(t, fetchHostile(t, r))
			s, err := r.Fetch(t.Context(), git.Revision{Commit: second}, git.FetchOptions{})
			require.Equal(t, tt.requests, requests.Load())
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
				return
			}
			require.NoError(t, err)
			for name, want := range map[string]string{"file": "second\n", "same": "hello\n"} {
				content, err := fs.ReadFile(s, name)
				require.NoError(t, err)
				require.Equal(t, want, string(content))
			}
		})
	}
}

// A server that stops anywhere holds up nobody who has given up, and leaves
// nothing behind.
func TestAttackStallsOfVersion2(t *testing.T) {
	commit, entries := tiny("hello\n")
	raw := pack(3, entries...)
	stall := func(w http.ResponseWriter, req *http.Request, said string) {
		io.WriteString(w, said)
		flushNow(w)
		<-req.Context().Done()
	}
	greet := pkt("# service=git-upload-pack\n") + "0000"
	for name, tt := range map[string]struct{ get, refs, fetch string }{
		"before the greeting":    {get: greet},
		"in the capabilities":    {get: greet + hello2 + pkt("ls-refs\n")},
		"in a packet":            {get: greet + hello2 + "00"},
		"before the references":  {refs: pkt("")[:0] + "00"},
		"in the references":      {refs: pkt(zeros + " refs/heads/x\n")},
		"before the sections":    {fetch: "00"},
		"in a section":           {fetch: pkt("acknowledgments\n")},
		"before the pack":        {fetch: packHead},
		"in the head of a pack":  {fetch: packHead + pkt("\x01"+string(raw[:6]))},
		"in the pack":            {fetch: packHead + pkt("\x01"+string(raw[:40]))},
		"before the trailer":     {fetch: packHead + pkt("\x01"+string(raw[:len(raw)-20]))},
		"before the end of data": {fetch: packHead + pkt("\x01"+string(raw))},
	} {
		t.Run(name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			reached := make(chan struct{}, 10)
			handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				said, kind := tt.get, advertised
				if req.Method == http.MethodPost {
					body, err := io.ReadAll(req.Body)
					if err != nil {
						return
					}
					if said, kind = tt.fetch, result; strings.Contains(string(body), "ls-refs") {
						said = tt.refs
					}
					req.Body = io.NopCloser(bytes.NewReader(body))
				}
				if said == "" {
					(&hostile2{refs: oneRef2(commit), pack: raw}).ServeHTTP(w, req)
					return
				}
				w.Header().Set("Content-Type", kind)
				reached <- struct{}{}
				stall(w, req, said)
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := hostile{get: handler, post: handler}.serve(t, git.Options{})
			go func() { <-reached; cancel() }()
			rev, err := r.Resolve(ctx, git.Ref{Branch: "main"})
			if err == nil {
				_, err = r.Fetch(ctx, rev, git.FetchOptions{Stream: func(_ context.Context, s *git.Snapshot) error {
					_, err := s.ReadFile("file")
					return err
				}})
			}
			require.ErrorIs(t, err, context.Canceled)
			require.NoError(t, r.Close())
			require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+4 }, 10*time.Second, 5*time.Millisecond,
				"what is left are the server's")
		})
	}
}
