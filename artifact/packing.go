package artifact

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"runtime"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	// A worker needs nearly 1 MiB for its compressor.
	mostWorkers = 32
	// inFlight bounds what is read, compressed, or waits to be written, in bytes; each
	// worker adds as much as a piece often has.
	inFlight  = 12 << 20
	perWorker = 1 << 20
	// leastCost of a piece bounds their number.
	leastCost = 64 << 10
)

// packing is one archive in the making. One goroutine walks the tree and cuts it
// into jobs, workers make them into pieces of the archive, and another one writes
// these in their order.
type packing struct {
	fsys    fs.FS
	ids     ContentIDFS // nil: nobody needs them, or has them
	opts    PackOptions
	lim     Limits
	workers int
	before  map[string]*stretch
	room    *semaphore.Weighted
	order   chan *job // as in the archive
	work    chan *job
	spare   spare
	planned int64 // bytes of the tar stream so far

	// What follows is the writer's.
	out     *output
	content contentDigest
	sum     Summary
	written int64 // bytes of the tar stream
}

// job is a piece of the archive.
type job struct {
	entries []entry // that are in it, or of which it is the last part
	raw     []byte  // its part of the tar stream, if that was read already
	old     *stretch
	copy    span  // of old, if it is known to be the same
	end     bool  // it is the end of the tar stream
	size    int64 // of its part of the tar stream
	cost    int64
	done    chan struct{}

	packed blocks
	packs  [sha256.Size]byte // of packed, if there is an index
	known  []known           // of entries
}

// known is what is known of the content of an entry.
type known struct {
	sum [sha256.Size]byte
	id  string
}

func newPacking(w io.Writer, fsys fs.FS, opts PackOptions) *packing {
	lim := opts.Limits.WithDefaults()
	workers := min(or(opts.Workers, runtime.GOMAXPROCS(0)), mostWorkers)
	p := &packing{
		fsys: fsys, opts: opts, lim: lim, before: opts.Previous.stretches(),
		workers: workers,
		room:    semaphore.NewWeighted(inFlight + perWorker*int64(workers)),
		order:   make(chan *job, inFlight/leastCost), work: make(chan *job),
		spare: newSpare(), out: &output{w: w, hash: sha256.New(), lim: lim}, content: newContentDigest(),
	}
	if p.before != nil || opts.Index != nil {
		p.ids, _ = fsys.(ContentIDFS)
	}
	if opts.Index != nil {
		*opts.Index = Index{}
	}
	return p
}

func (p *packing) run(ctx context.Context) (Summary, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(p.order)
		defer close(p.work)
		return p.plan(ctx)
	})
	for range p.workers {
		group.Go(func() error { return (&worker{packing: p}).run(ctx) })
	}
	group.Go(func() error { return p.write(ctx) })
	if err := group.Wait(); err != nil {
		return Summary{}, err
	}
	p.sum.Digest = digest.NewDigest(digest.SHA256, p.out.hash)
	p.sum.ContentDigest = p.content.sum()
	p.sum.Size = p.out.n
	return p.sum, nil
}

// plan walks the tree and makes the jobs.
func (p *packing) plan(ctx context.Context) error {
	cut := planner{
		small: func(entries []entry, size int64) error {
			return p.submit(ctx, &job{entries: entries, old: p.before[entries[0].path], size: size, cost: size})
		},
		big: func(e entry) error { return p.big(ctx, e) },
	}
	take := func(e entry) error {
		p.planned += e.tarSize()
		if p.planned > p.lim.Bytes {
			return &LimitError{Limit: "Bytes", Max: p.lim.Bytes}
		}
		return cut.add(e)
	}
	if err := walk(ctx, p.fsys, p.opts, p.lim, take); err != nil {
		return err
	}
	if err := cut.end(); err != nil {
		return err
	}
	return p.end(ctx)
}

// end ends the tar stream. This has a piece of its own, so that the one before it
// is the same in every archive that has the same files there.
func (p *packing) end(ctx context.Context) error {
	zeros := make([]byte, 2*512)
	return p.submit(ctx, &job{raw: zeros, end: true, size: int64(len(zeros))})
}

// submit hands a job on once there is room for it. The room is taken already if
// the job has a cost and raw bytes.
func (p *packing) submit(ctx context.Context, j *job) error {
	j.done = make(chan struct{})
	if j.raw == nil || j.cost == 0 {
		j.cost = max(j.cost, leastCost)
		if err := p.room.Acquire(ctx, j.cost); err != nil {
			return err
		}
	}
	for _, to := range []chan *job{p.order, p.work} {
		select {
		case to <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// big takes a file that is longer than a piece. It is read here, from front to
// end, and compressed by the workers.
func (p *packing) big(ctx context.Context, e entry) error {
	if old := p.before[e.path]; old.lists([]entry{e}) {
		k, same, err := p.same(ctx, sha256.New(), make([]byte, 64<<10), e, old.entries[0])
		if err != nil {
			return err
		}
		if same && old.intact(&blocks{spare: p.spare}) {
			return p.copyBig(ctx, e, k, old)
		}
	}
	c := &chunks{ctx: ctx, next: p.raw}
	c.to = func(ctx context.Context, raw []byte) error {
		return p.submit(ctx, &job{raw: raw, size: int64(len(raw)), cost: 2 * maxMember})
	}
	k, err := appendTar(ctx, tar.NewWriter(c), sha256.New(), make([]byte, 64<<10), p.fsys, e)
	if err != nil {
		return err
	}
	k.id = p.id(e)
	return p.submit(ctx, &job{
		raw: c.buf, size: int64(len(c.buf)), cost: 2 * maxMember, entries: []entry{e}, known: []known{k},
	})
}

// raw takes room for the part of a big file, raw and compressed.
func (p *packing) raw(ctx context.Context) ([]byte, error) {
	if err := p.room.Acquire(ctx, 2*maxMember); err != nil {
		return nil, err
	}
	return take(p.spare.raws, maxMember), nil
}

// copyBig copies all pieces of a file, which were looked at.
func (p *packing) copyBig(ctx context.Context, e entry, k known, old *stretch) error {
	for i, at := range old.pieces {
		j := &job{old: old, copy: at, cost: at.length}
		if i == len(old.pieces)-1 {
			j.entries, j.known, j.size = []entry{e}, []known{k}, e.tarSize()
		}
		if err := p.submit(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// write writes the pieces in their order.
func (p *packing) write(ctx context.Context) error {
	for j := range p.order {
		select {
		case <-j.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := p.one(j); err != nil {
			return err
		}
	}
	return nil
}

// one writes a piece and adds up what is in it.
func (p *packing) one(j *job) error {
	if err := j.packed.writeTo(p.out); err != nil {
		return err
	}
	p.written += j.size
	if err := p.lim.checkExpanded(p.out.n, p.written, packGrace); err != nil {
		return err
	}
	for i, e := range j.entries {
		p.content.add(e, j.known[i].sum[:])
		p.sum.Files++
		p.sum.ContentSize += e.size
	}
	if p.opts.Index != nil {
		p.opts.Index.add(j)
	}
	j.packed.clear()
	p.room.Release(j.cost)
	if p.opts.Progress != nil && len(j.entries) > 0 {
		p.opts.Progress(p.sum.Files, p.sum.ContentSize)
	}
	return nil
}

// add adds a piece, but for the end of the tar stream.
func (x *Index) add(j *job) {
	if j.end {
		return
	}
	p := piece{length: j.packed.n, sum: j.packs}
	for i, e := range j.entries {
		p.entries = append(p.entries, indexed{path: e.path, mode: e.mode, size: e.size, sum: j.known[i].sum, id: j.known[i].id})
	}
	x.pieces = append(x.pieces, p)
}

// id returns the id of an entry's content, if it has one.
func (p *packing) id(e entry) string {
	if p.ids == nil || e.isLink() {
		return ""
	}
	id, err := p.ids.ContentID(e.path)
	if err != nil {
		return "" // whatever is wrong comes up when the file is read
	}
	return id
}

// same reports whether the content of an entry is what it was. It is read only if
// nothing else tells.
func (p *packing) same(ctx context.Context, h hash.Hash, buf []byte, e entry, old indexed) (known, bool, error) {
	k := known{id: p.id(e)}
	switch {
	case e.isLink():
		k.sum = sha256.Sum256([]byte(e.target))
	case k.id != "" && old.id != "":
		if k.id != old.id {
			return k, false, nil
		}
		k.sum = old.sum
	default:
		h.Reset()
		if err := copyFile(ctx, h, buf, p.fsys, e); err != nil {
			return k, false, err
		}
		h.Sum(k.sum[:0])
	}
	return k, k.sum == old.sum, nil
}

// output counts and hashes what goes to the user's writer.
type output struct {
	w    io.Writer
	hash hash.Hash
	n    int64
	lim  Limits
}

func (o *output) Write(b []byte) (int, error) {
	if err := o.lim.checkArchive(o.n + int64(len(b))); err != nil {
		return 0, err
	}
	o.hash.Write(b)
	n, err := o.w.Write(b)
	o.n += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// errPrevious: the index does not help any more, for a part was written already.
var errPrevious = errors.New("the previous archive was changed while it was read: pack without it")
