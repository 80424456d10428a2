package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Fetch brings the commit of a revision, with its tree and, where the revision
// is an annotated tag, the tag; no history. All of it is checked against the
// hashes, and the tree against the rules of [Snapshot], before Fetch returns.
//
// A revision from [Remote.Resolve] is fetched as it was, also if the reference
// has moved since, as long as the server gives the commit. For a revision from
// [ParseRevision] the references are listed first. A commit that no reference
// points to is given by servers that allow it (git itself does over HTTP if a
// reference leads to it, most forges do always); [ErrCommitUnavailable]
// otherwise.
func (r *Remote) Fetch(ctx context.Context, rev Revision, _ FetchOptions) (*Snapshot, error) {
	if _, _, err := rev.ids(); err != nil {
		return nil, r.wrap(ctx, "fetch", err)
	}
	var snapshot *Snapshot
	err := r.do(ctx, "fetch", func(ctx context.Context, s session) error {
		found := r.remembered(rev)
		if found == nil {
			var err error
			if found, err = locate(ctx, s, rev, r.limits); err != nil {
				return err
			}
		}
		pack, err := request(ctx, s, found)
		if err != nil {
			return err
		}
		objects, err := readPack(ctx, pack, r.limits)
		if err != nil {
			return err
		}
		snapshot, err = newSnapshot(ctx, objects, found, r.limits)
		return err
	})
	if err != nil {
		return nil, err
	}
	return snapshot, nil
}

// locate finds what to ask for to get a revision.
func locate(ctx context.Context, s session, rev Revision, lim Limits) (*resolved, error) {
	adv, err := list(ctx, s, lim)
	if err != nil {
		return nil, err
	}
	commit, tag, err := rev.ids()
	if err != nil {
		return nil, err
	}
	found := &resolved{rev: rev, want: commit, caps: adv.caps}
	if rev.Name != "" {
		found.ref = fullName(rev)
	}
	if !tag.isZero() {
		found.want = tag
	}
	ref, ok := adv.leadingTo(commit, rev.Name)
	if !ok || !tag.isZero() && tag != ref.id {
		return found, nil // it is for the server to say whether it gives it
	}
	// A reference that leads there is a way to the commit under whatever name,
	// but only its own name makes a tag the revision's tag.
	found.want = ref.id
	if rev.Name != "" && (ref.short() == rev.Name || ref.name == rev.Name) {
		found.ref = ref.name
		found.rev.Tag = newResolved(ref, nil).rev.Tag
	}
	return found, nil
}

// fullName is the full name that a revision's reference must have had.
func fullName(rev Revision) string {
	switch {
	case strings.HasPrefix(rev.Name, "refs/") || rev.Name == "HEAD":
		return rev.Name
	case rev.Tag != "":
		return tagPrefix + rev.Name
	}
	return branchPrefix + rev.Name
}

// request asks for one object at depth 1, and returns the pack that it is in.
func request(ctx context.Context, s session, found *resolved) (io.Reader, error) {
	var caps []string
	for _, name := range []string{"multi_ack_detailed", "side-band-64k", "ofs-delta", "no-progress", "shallow"} {
		if found.caps.has(name) {
			caps = append(caps, name)
		}
	}
	if found.caps.has("agent") {
		caps = append(caps, "agent=gitopskit")
	}
	shallow := found.caps.has("shallow")
	body := appendPacket(nil, fmt.Sprintf("want %s %s\n", found.want, strings.Join(caps, " ")))
	if shallow {
		body = appendPacket(body, "deepen 1\n")
	}
	body = append(body, flushPacket...)
	body = appendPacket(body, "done\n")
	packets, err := s.request(ctx, body)
	if err != nil {
		return nil, err
	}
	if shallow {
		if err := skipShallow(packets); err != nil {
			return nil, unavailable(err, found)
		}
	}
	answer, flush, err := packets.next()
	if err != nil {
		return nil, unavailable(readError(err), found)
	}
	if flush || strings.TrimSpace(string(answer)) != "NAK" {
		return nil, fmt.Errorf("%w: %q where the pack should begin", ErrProtocol, clip(string(answer)))
	}
	if !found.caps.has("side-band-64k") {
		return packets.r, nil
	}
	return &sideband{packets: packets}, nil
}

// skipShallow reads the section that says where history is cut off: at the
// commit, as asked.
func skipShallow(packets *packetReader) error {
	const most = 1000 // one is expected
	for range most {
		line, flush, err := packets.next()
		if err != nil {
			return readError(err)
		}
		if flush {
			return nil
		}
		if !strings.HasPrefix(string(line), "shallow ") && !strings.HasPrefix(string(line), "unshallow ") {
			return fmt.Errorf("%w: %q where the end of history should be named", ErrProtocol, clip(string(line)))
		}
	}
	return fmt.Errorf("%w: history is cut off at more than %d commits", ErrProtocol, most)
}

// unavailable says what to do when the server does not give a commit.
func unavailable(err error, found *resolved) error {
	if errors.Is(err, ErrCommitUnavailable) {
		return fmt.Errorf("%w; resolve %s again: its reference may have moved", err, found.rev)
	}
	return err
}
