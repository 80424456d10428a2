package git

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
)

// What the fuzz targets need to see of the inside.

var (
	SplitCommit   = splitCommit
	SplitTag      = splitTag
	ValidRefName  = validRefName
	BadName       = badName
	ParseIdentity = parseIdentity

	VersionPrefixes = versionPrefixes
	MatchPattern    = matchPattern
)

func ParseCommit(raw []byte) (*Commit, error) { return parseCommit(id{}, raw) }

func ParseTag(raw []byte) (*Tag, string, error) { return parseTag(id{}, raw) }

// TreeNames parses a tree and returns its names.
func TreeNames(raw []byte) ([]string, error) {
	t, err := parseTree(id{}, raw)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range t.entries {
		names = append(names, e.name)
	}
	return names, nil
}

// ReadPack decodes a pack and returns how many objects it has.
func ReadPack(ctx context.Context, pack []byte, lim Limits) (int, error) {
	into := newSegment(&disk{})
	err := receivePack(ctx, bytes.NewReader(pack), into, nil, lim.withDefaults(), func() {})
	return len(into.index), err
}

// ReadAdvertisement reads a list of references and returns their names.
func ReadAdvertisement(data []byte) ([]string, error) {
	hello, err := readGreeting(newPacketReader(bytes.NewReader(data)), Limits{References: 1000})
	if err != nil || hello.refs == nil {
		return nil, err
	}
	return hello.refs.names(""), nil
}

// CheckSSHSignature parses a signature and checks it over a payload.
func CheckSSHSignature(armored, payload []byte) error {
	s, err := parseSSHSignature(armored)
	if err != nil {
		return err
	}
	return s.verify(payload)
}

// SSHSignatureFields parses a signature and returns its namespace, its hash, its
// key and what the key made.
func SSHSignatureFields(armored []byte) ([]string, error) {
	s, err := parseSSHSignature(armored)
	if err != nil {
		return nil, err
	}
	return []string{s.namespace, s.hash, string(s.key.Marshal()), string(ssh.Marshal(s.signature))}, nil
}

// OpenPGPSignature reads an armored signature and returns what is inside.
func OpenPGPSignature(armored []byte) ([]byte, error) {
	blob, _, err := readOpenPGP(armored)
	return blob, err
}

// CheckSignature checks an armored signature of any format.
func (k *Keys) CheckSignature(payload, armored []byte) error {
	_, err := k.verify(&SignatureError{Object: "commit"}, payload, armored, time.Time{})
	return err
}

// MatchKnownHost parses a known_hosts file and returns the algorithms for a
// host.
func MatchKnownHost(file []byte, host string) ([]string, error) {
	known, err := parseKnownHosts(file)
	if err != nil {
		return nil, err
	}
	return known.algorithms(host), nil
}

// FailDisk makes the steps of a Remote on its disk fail: fail is asked before
// each.
func FailDisk(r *Remote, fail func(step string) error) { r.disk.fail = fail }

// Checkout writes any tree to a disk.
func Checkout(ctx context.Context, fsys fs.ReadLinkFS, root *os.Root, opts CheckoutOptions) error {
	return checkout(ctx, fsys, root, opts)
}

// ParseLFSPointer reads a pointer as that of a file without a path.
func ParseLFSPointer(blob []byte) (LFSFile, bool) {
	p, ok := parseLFSPointer(blob)
	return p.at(""), ok
}

// LFSDownload fetches large files of a repository.
func LFSDownload(ctx context.Context, rawURL string, opts Options, files []LFSFile, received func(int) error, sink func(LFSFile, io.Reader) error) error {
	u, err := parseURL(rawURL)
	if err != nil {
		return err
	}
	hide := opts.secrets()
	t, err := newTransport(u, opts, hide)
	if err != nil {
		return err
	}
	defer t.close()
	c, err := newLFSClient(u, t, opts, hide)
	if err != nil {
		return err
	}
	defer c.close()
	c.received = received
	return c.download(ctx, files, sink)
}

// ParseGitmodules returns the name, path and URL of each submodule.
func ParseGitmodules(raw []byte) ([][3]string, error) {
	var list [][3]string
	found, err := parseGitmodules(raw)
	for _, m := range found {
		list = append(list, [3]string{m.Name, m.Path, m.URL})
	}
	return list, err
}

// ParseConfig returns section, name, key and value of each setting.
func ParseConfig(raw []byte) ([][4]string, error) {
	var list [][4]string
	settings, err := parseConfig(raw)
	for _, s := range settings {
		list = append(list, [4]string{s.section, s.name, s.key, s.value})
	}
	return list, err
}

// SubmoduleURL resolves the URL of a submodule.
func SubmoduleURL(parent, raw string) (string, error) {
	u, err := parseURL(parent)
	if err != nil {
		return "", err
	}
	return resolveSubmoduleURL(u, raw)
}

// SubmoduleOptions returns how to open a submodule.
func SubmoduleOptions(ctx context.Context, parent string, opts Options, how *Submodules, address string) (Options, error) {
	u, err := parseURL(parent)
	if err != nil {
		return Options{}, err
	}
	return submoduleOptions(ctx, u, opts, how, address)
}

// Kept is how large all is that a Remote keeps.
func Kept(r *Remote) int64 { return held(r.keptSnapshots()) }

// Held is how large the segments of a snapshot are, and how many.
func Held(s *Snapshot) (length int64, segments int) {
	for _, seg := range s.tree.objects.segments() {
		length += seg.length()
		segments++
	}
	return length, segments
}

// PackObjects decodes a pack that may build upon another one, and returns its
// objects by their ids, with their types in front.
func PackObjects(ctx context.Context, pack, base []byte, lim Limits) (map[string]string, error) {
	lim = lim.withDefaults()
	var known *store
	if base != nil {
		from := newSegment(&disk{})
		if err := receivePack(ctx, bytes.NewReader(base), from, nil, lim, func() {}); err != nil {
			return nil, err
		}
		known = &store{ctx: ctx, own: from}
	}
	into := newSegment(&disk{})
	err := receivePack(ctx, bytes.NewReader(pack), into, known, lim, func() {})
	return objectsOf(into), err
}

// PackObjectsWithGoGit is PackObjects of the compatible engine.
func PackObjectsWithGoGit(ctx context.Context, pack []byte, lim Limits) (map[string]string, error) {
	into := newSegment(&disk{})
	err := decodeWithGoGit(ctx, bytes.NewReader(pack), into, lim.withDefaults())
	return objectsOf(into), err
}

func objectsOf(s *segment) map[string]string {
	objects := map[string]string{}
	for hash, r := range s.index {
		content, err := s.content(r)
		if err != nil {
			content = []byte(err.Error())
		}
		objects[hash.String()] = r.kind.String() + " " + string(content)
	}
	return objects
}

// ApplyDelta applies a delta.
func ApplyDelta(base, delta []byte) ([]byte, error) {
	r := bufio.NewReader(bytes.NewReader(delta))
	baseSize, size, err := deltaSizes(r)
	if err != nil {
		return nil, err
	}
	if baseSize != int64(len(base)) || size > 1<<20 {
		return nil, errDelta
	}
	var result []byte
	err = applyDelta(r, bytes.NewReader(base), baseSize, size, make([]byte, 100), func(p []byte) error {
		result = append(result, p...)
		return nil
	})
	return result, err
}

// ReadGreeting reads what a server says first.
func ReadGreeting(data []byte) {
	_, _ = readGreeting(newPacketReader(bytes.NewReader(data)), Limits{References: 100})
}

// ReadRefs reads the references of version 2, and returns their names.
func ReadRefs(data []byte) ([]string, error) {
	adv, err := readRefs(newPacketReader(bytes.NewReader(data)), nil, Limits{References: 100})
	if err != nil {
		return nil, err
	}
	return adv.names(""), nil
}

// ReadAnswer reads an answer of a server in a version of the protocol, and
// returns the objects in it.
func ReadAnswer(ctx context.Context, data []byte, version int, lim Limits) (map[string]string, error) {
	c := &client{session: answered(data), lim: lim.withDefaults(), hello: &greeting{version: version, caps: capabilities{"side-band-64k": "", "shallow": ""}}}
	into := newSegment(&disk{})
	err := c.receive(ctx, wanted{objects: []id{{1}}, depth: 1}, into, nil, func() {})
	return objectsOf(into), err
}

// answered is a session whose answer is there already.
type answered []byte

func (a answered) advertise(context.Context) (*packetReader, error) {
	return newPacketReader(bytes.NewReader(a)), nil
}
func (a answered) request(ctx context.Context, _ []byte) (*packetReader, error) {
	return a.advertise(ctx)
}
func (answered) stateless() bool { return true }
func (answered) close(bool)      {}

// Children are how many submodules a Remote has open.
func Children(r *Remote) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.children)
}
