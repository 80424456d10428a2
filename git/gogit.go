package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	gogitband "github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
)

// goGit is the compatible engine: go-git's protocol, version 0, and packs, over
// our transports, which know contexts, limits and where credentials may go.
type goGit struct {
	session session
	lim     Limits
	refs    *packp.AdvRefs
}

func (g *goGit) abilities(ctx context.Context) (abilities, error) {
	_, err := g.advertised(ctx)
	return abilities{}, err
}

// advertised reads what the server says first.
func (g *goGit) advertised(ctx context.Context) (*packp.AdvRefs, error) {
	if g.refs != nil {
		return g.refs, nil
	}
	packets, err := g.session.advertise(ctx)
	if err != nil {
		return nil, err
	}
	if err := peekFormat(packets); err != nil {
		return nil, err
	}
	// The decoder holds the whole list, so that it is bounded before.
	most := int64(g.lim.References)*256 + 1<<20
	limited := &io.LimitedReader{R: packets.r, N: most}
	refs := packp.NewAdvRefs()
	switch err := refs.Decode(limited); {
	case err == nil:
	case limited.N <= 0:
		return nil, &LimitError{"References", int64(g.lim.References)}
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		return nil, ErrEmptyRepository
	default:
		return nil, goGitError(err)
	}
	g.refs = refs
	return refs, nil
}

// peekFormat refuses other hashes, of which the decoder can make nothing. They
// are behind the first reference.
func peekFormat(packets *packetReader) error {
	head, _ := packets.r.Peek(4) // whatever is wrong, the decoder finds it too
	n, err := strconv.ParseUint(string(head), 16, 16)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	line, _ := packets.r.Peek(int(min(n, maxPacket)))
	_, caps, _ := bytes.Cut(line, []byte{0})
	return (&advertisement{}).readCapabilities(string(caps))
}

// goGitError gives an error of go-git its kind.
func goGitError(err error) error {
	var said *pktline.ErrorLine
	switch {
	case isOurs(err):
		return err
	case errors.As(err, &said):
		return serverError(said.Text)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, packp.ErrEmptyInput):
		return readError(io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("%w: %s", ErrProtocol, clip(err.Error()))
}

// list implements engine: it lists all.
func (g *goGit) list(ctx context.Context, _ []string) (*advertisement, error) {
	refs, err := g.advertised(ctx)
	if err != nil {
		return nil, err
	}
	adv := newAdvertisement(g.lim)
	for _, target := range refs.Capabilities.Get(capability.SymRef) {
		if name, ok := strings.CutPrefix(target, "HEAD:"); ok {
			adv.head = name
		}
	}
	for _, name := range slices.Sorted(maps.Keys(refs.References)) {
		ref := reference{name: name, id: id(refs.References[name]), peeled: id(refs.Peeled[name])}
		if err := adv.put(name, ref); err != nil {
			return nil, err
		}
	}
	if refs.Head != nil {
		if _, listed := adv.find("HEAD"); !listed {
			if err := adv.put("HEAD", reference{name: "HEAD", id: id(*refs.Head)}); err != nil {
				return nil, err
			}
		}
	}
	return adv, nil
}

// receive implements engine: it brings everything, whatever is held.
func (g *goGit) receive(ctx context.Context, w wanted, into *segment, _ *store, _ func()) error {
	err := g.fetch(ctx, w, into)
	into.finish(err)
	return err
}

func (g *goGit) fetch(ctx context.Context, w wanted, into *segment) error {
	refs, err := g.advertised(ctx)
	if err != nil {
		return err
	}
	req, err := newUploadPack(refs.Capabilities, w)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := req.UploadRequest.Encode(&body); err != nil {
		return goGitError(err)
	}
	if err := pktline.NewEncoder(&body).EncodeString("done\n"); err != nil {
		return goGitError(err)
	}
	packets, err := g.session.request(ctx, body.Bytes())
	if err != nil {
		return err
	}
	answer := packp.NewUploadPackResponse(req)
	if err := answer.Decode(io.NopCloser(packets.r)); err != nil {
		return goGitError(err)
	}
	pack := io.Reader(answer)
	if req.Capabilities.Supports(capability.Sideband64k) {
		pack = gogitband.NewDemuxer(gogitband.Sideband64k, answer)
	}
	return decodeWithGoGit(ctx, pack, into, g.lim)
}

// newUploadPack makes a request of what the server can do.
func newUploadPack(can *capability.List, w wanted) (*packp.UploadPackRequest, error) {
	req := packp.NewUploadPackRequest()
	for _, hash := range w.objects {
		req.Wants = append(req.Wants, plumbing.Hash(hash))
	}
	use := []capability.Capability{capability.MultiACKDetailed, capability.Sideband64k, capability.OFSDelta, capability.NoProgress}
	if w.depth > 0 && can.Supports(capability.Shallow) {
		use = append(use, capability.Shallow)
		req.Depth = packp.DepthCommits(w.depth)
	}
	for _, c := range use {
		if can.Supports(c) {
			if err := req.Capabilities.Set(c); err != nil {
				return nil, goGitError(err)
			}
		}
	}
	if can.Supports(capability.Agent) {
		if err := req.Capabilities.Set(capability.Agent, agent); err != nil {
			return nil, goGitError(err)
		}
	}
	return req, nil
}
