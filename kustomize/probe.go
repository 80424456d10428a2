package kustomize

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"strings"
)

// summing sums up inputs, and what they are at a time.
type summing struct{ h hash.Hash }

func newHasher(in Inputs) summing {
	h := summing{sha256.New()}
	h.text(in.version)
	h.text(in.dir)
	h.h.Write(in.options[:])
	return h
}

// text adds a text and its length, so that no two lists of texts are the same bytes.
func (h summing) text(s string) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	h.h.Write(n[:])
	_, _ = io.WriteString(h.h, s)
}

func (h summing) add(i Input, content string) {
	h.h.Write([]byte{byte(i.Kind)})
	h.text(i.Name)
	h.text(content)
}

func (h summing) sum() (s sum) {
	h.h.Sum(s[:0])
	return s
}

// digest sums up what the options say.
func (o *Options) digest() sum {
	plain := *o
	plain.Limits = o.Limits.withDefaults()
	var keys string
	if o.Decrypter != nil {
		plain.Decrypter, keys = nil, "keys "+o.Decrypter.Identity()
	}
	data, err := json.Marshal(struct {
		Options
		Keys string
	}{plain, keys})
	if err != nil { // there is nothing in options that JSON does not have
		return sum{}
	}
	return sha256.Sum256(data)
}

// probe asks a tree what inputs are now, each once. It does not follow links: an
// input is where it is, or it has changed.
type probe struct {
	ctx    context.Context //nolint:containedctx // of the one call that the probe is for
	fsys   fs.FS
	lim    Limits
	ids    contentIDs // nil if the tree has none
	hashes treeHashes // nil if the tree has none

	infos    map[string]fs.FileInfo
	files    map[string][]byte // that were read before
	lists    map[string][]fs.DirEntry
	contents map[string]string
	bytes    int64
}

type contentIDs interface {
	ContentID(name string) (string, error)
}

type treeHashes interface {
	TreeHash(dir string) (string, error)
}

func newProbe(ctx context.Context, fsys fs.FS, lim Limits) *probe {
	p := &probe{
		ctx: ctx, fsys: fsys, lim: lim,
		infos: map[string]fs.FileInfo{}, contents: map[string]string{},
	}
	p.ids, _ = fsys.(contentIDs)
	p.hashes, _ = fsys.(treeHashes)
	return p
}

// each calls f with each input that is of the kind that it was, until one has
// changed.
func (p *probe) each(list []Input, f func(Input) (bool, error)) (bool, error) {
	for _, i := range list {
		if err := p.ctx.Err(); err != nil {
			return false, err
		}
		ok, err := p.hasKind(i)
		if ok && err == nil {
			ok, err = f(i)
		}
		if !ok || err != nil {
			return false, gone(err)
		}
	}
	return true, nil
}

// gone takes what a tree says of names that vanished for the change that it is.
func gone(err error) error {
	if missing(err) {
		return nil
	}
	return err
}

// hasKind reports whether the kind of an input is what it was, and whether the way
// there is one of directories: a link on it would change where ".." leads.
func (p *probe) hasKind(i Input) (bool, error) {
	if ok, err := p.isDir(path.Dir(i.Name)); !ok || err != nil {
		return false, err
	}
	info, err := p.lstat(i.Name)
	if missing(err) {
		return i.Kind == Missing, nil
	}
	if err != nil {
		return false, err
	}
	switch i.Kind {
	case File:
		return info.Mode().IsRegular(), nil
	case Link:
		return info.Mode().Type() == fs.ModeSymlink, nil
	case Directory:
		return info.IsDir(), nil
	default:
		return false, nil
	}
}

func (p *probe) isDir(name string) (bool, error) {
	if _, known := p.infos[name]; !known && name != "." {
		if ok, err := p.isDir(path.Dir(name)); !ok || err != nil {
			return false, err
		}
	}
	info, err := p.lstat(name)
	return err == nil && info.IsDir(), gone(err)
}

func (p *probe) lstat(name string) (fs.FileInfo, error) {
	if info := p.infos[name]; info != nil {
		return info, nil
	}
	info, err := fs.Lstat(p.fsys, name)
	if err == nil {
		p.infos[name] = info
	}
	return info, err
}

// id is what stands for the content of an input without reading a file.
func (p *probe) id(i Input) (id string, ok bool, err error) {
	if i.Kind != File {
		return p.content(i)
	}
	id, err = p.ids.ContentID(i.Name)
	return id, id != "" && err == nil, err
}

// content is what stands for the content of an input.
func (p *probe) content(i Input) (content string, ok bool, err error) {
	if content, ok = p.contents[i.Name]; ok {
		return content, true, nil
	}
	switch i.Kind {
	case File:
		content, ok, err = p.file(i.Name)
	case Link:
		content, err = fs.ReadLink(p.fsys, i.Name)
		ok = err == nil
	case Directory:
		content, err = p.list(i.Name)
		ok = err == nil
	default: // there is nothing to it
		ok = true
	}
	if ok {
		p.contents[i.Name] = content
	}
	return content, ok, err
}

// file hashes a file. One that is now too large has changed.
func (p *probe) file(name string) (content string, ok bool, err error) {
	if data, ok := p.files[name]; ok {
		s := sha256.Sum256(data)
		return string(s[:]), true, nil
	}
	f, err := p.fsys.Open(name)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, p.lim.FileBytes+1))
	p.bytes += n
	return string(h.Sum(nil)), err == nil && n <= p.lim.FileBytes && p.bytes <= p.lim.Bytes, err
}

// list is what matters of a directory without a kustomization.
func (p *probe) list(dir string) (string, error) {
	entries, known := p.lists[dir]
	if !known {
		var err error
		if entries, err = fs.ReadDir(p.fsys, dir); err != nil {
			return "", err
		}
	}
	h := summing{sha256.New()}
	for _, d := range entries {
		if isManifest(d) {
			h.text(fmt.Sprint(d.Type()))
			h.text(d.Name())
		}
	}
	s := h.sum()
	return string(s[:]), nil
}

// within stands for the directory that has all inputs, and ok is false if the tree
// cannot tell.
func (p *probe) within(list []Input) (s sum, ok bool) {
	if p.hashes == nil || len(list) == 0 {
		return s, false
	}
	dir := common(list)
	if ok, err := p.isDir(dir); !ok || err != nil {
		return s, false
	}
	id, err := p.hashes.TreeHash(dir)
	if err != nil || id == "" {
		return s, false
	}
	return sha256.Sum256([]byte(dir + "\x00" + id)), true
}

// common is the directory that has all inputs below it. They are sorted, so it is
// that of the first and the last.
func common(list []Input) string {
	dir := path.Dir(list[0].Name)
	if list[0].Kind == Directory {
		dir = list[0].Name
	}
	for last := list[len(list)-1].Name; dir != "." && last != dir && !strings.HasPrefix(last, dir+"/"); {
		dir = path.Dir(dir)
	}
	return dir
}
