package gc

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Entries are stored by column: what is alike lies together and is compressed
// away, and what is not (UIDs, digests) is stored as bytes instead of text.
//
//	number of entries, number of columns
//	for each word column: its distinct words, then one index for each entry
//	for each text column: one form and length for each entry, then the bytes
//	the generations
//	the sizes of the sets that were left, unless all are 0
//
// All numbers are varints. A field of Entry that is in no column would be lost:
// a test fills in every field.

// wordCount and textCount are in the stored form, so that a reader does not
// mistake one set of columns for another.
const (
	wordCount  = 5
	textCount  = 5
	nameColumn = 0 // of the texts; names are alike, and compress best as they are
)

// words are the fields with few distinct values.
func (e *Entry) words() [wordCount]*string {
	return [wordCount]*string{&e.Group, &e.Kind, &e.Namespace, &e.Version, &e.Resource}
}

// texts are the fields that differ from entry to entry.
func (e *Entry) texts() [textCount]*string {
	return [textCount]*string{&e.Name, (*string)(&e.UID), &e.ResourceVersion, &e.Intent, &e.Owned}
}

// form says how a text is stored.
type form uint64

const (
	plain    form = iota // as it is
	packed64             // unpadded base64
	packed16             // lower-case hexadecimal
	packedID             // a UUID: hexadecimal with dashes
	decimal              // a number, as varint
	formBits = 3
)

// minEntryBytes is the least that an entry takes before compression.
const minEntryBytes = wordCount + textCount + 1

// encodeEntries returns the entries, compressed, and how many bytes they inflate
// to. The same entries give the same bytes.
func encodeEntries(inv Inventory) (data []byte, inflated int, err error) {
	raw := columns(inv)
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	if _, err := zw.Write(raw); err != nil {
		return nil, 0, err
	}
	if err := zw.Close(); err != nil {
		return nil, 0, err
	}
	return buf.Bytes(), len(raw), nil
}

// columns is the stored form before compression.
func columns(inv Inventory) []byte {
	raw := binary.AppendUvarint(nil, uint64(len(inv)))
	raw = append(raw, wordCount, textCount)
	for c := range wordCount {
		raw = appendWords(raw, inv, c)
	}
	for c := range textCount {
		raw = appendTexts(raw, inv, c)
	}
	for _, e := range inv {
		raw = binary.AppendVarint(raw, e.Generation)
	}
	if !inv.anyLeft() {
		return raw
	}
	for _, e := range inv {
		raw = binary.AppendVarint(raw, e.LeftOf)
	}
	return raw
}

func appendWords(raw []byte, inv Inventory, column int) []byte {
	index := map[string]uint64{}
	var words []string
	var picks []byte
	for i := range inv {
		word := *inv[i].words()[column]
		n, ok := index[word]
		if !ok {
			n = uint64(len(words))
			index[word], words = n, append(words, word)
		}
		picks = binary.AppendUvarint(picks, n)
	}
	raw = binary.AppendUvarint(raw, uint64(len(words)))
	for _, w := range words {
		raw = binary.AppendUvarint(raw, uint64(len(w)))
		raw = append(raw, w...)
	}
	return append(raw, picks...)
}

func appendTexts(raw []byte, inv Inventory, column int) []byte {
	var body []byte
	for i := range inv {
		f, b := plain, []byte(*inv[i].texts()[column])
		if column != nameColumn {
			f, b = pack(string(b))
		}
		raw = binary.AppendUvarint(raw, uint64(len(b))<<formBits|uint64(f))
		body = append(body, b...)
	}
	return append(raw, body...)
}

// pack finds the shortest form that gives back the very same text.
func pack(s string) (form, []byte) {
	if n, err := strconv.ParseUint(s, 10, 64); err == nil && strconv.FormatUint(n, 10) == s {
		return decimal, binary.AppendUvarint(nil, n)
	}
	forms := []form{packed16, packed64}
	if len(s) == 36 {
		forms = []form{packedID}
	}
	if len(s) >= 8 { // shorter ones gain nothing
		for _, f := range forms {
			if b, ok := bytesOf(f, s); ok && string(appendText(nil, f, b)) == s {
				return f, b
			}
		}
	}
	return plain, []byte(s)
}

func bytesOf(f form, s string) ([]byte, bool) {
	var b []byte
	var err error
	switch f {
	case packed64:
		b, err = base64.RawStdEncoding.DecodeString(s)
	case packed16:
		b, err = hex.DecodeString(s)
	case packedID:
		b, err = hex.DecodeString(s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:])
	default:
		b = []byte(s)
	}
	return b, err == nil
}

// appendText is the reverse of bytesOf.
func appendText(to []byte, f form, b []byte) []byte {
	switch f {
	case packed64:
		return base64.RawStdEncoding.AppendEncode(to, b)
	case packed16:
		return hex.AppendEncode(to, b)
	case packedID:
		for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
			if i > 0 {
				to = append(to, '-')
			}
			to = hex.AppendEncode(to, part)
		}
		return to
	default:
		return append(to, b...)
	}
}

// decoder is the reverse of encodeEntries. One that is used again needs less memory.
// It refuses what encodeEntries would not have written: entries that are incomplete
// or out of order.
type decoder struct {
	zr    gzip.Reader
	raw   bytes.Buffer
	heads []uint64
}

// decode inflates at most limit bytes.
func (d *decoder) decode(data []byte, limit int) (Inventory, error) {
	n, err := d.open(data, limit)
	if err != nil {
		return nil, err
	}
	inv := make(Inventory, n)
	return inv, d.fill(inv)
}

// decodeShard reads the entries that a reference fixes, as many as there is room for.
func (d *decoder) decodeShard(ref shardRef, data []byte, inv Inventory) error {
	if !bytes.Equal(digestOf(data), ref.Digest) {
		return errors.New("its content is not what the index says")
	}
	n, err := d.open(data, ref.Bytes)
	if err != nil {
		return err
	}
	if n != len(inv) {
		return fmt.Errorf("it holds %d entries, and the index says %d", n, len(inv))
	}
	if err := d.fill(inv); err != nil {
		return err
	}
	return inv.check()
}

// open inflates, and tells how many entries there are.
func (d *decoder) open(data []byte, limit int) (int, error) {
	if err := d.zr.Reset(bytes.NewReader(data)); err != nil {
		return 0, err
	}
	d.raw.Reset()
	d.raw.Grow(min(limit, 3*len(data)) + bytes.MinRead) // what is usual; entries shrink to about half
	if _, err := d.raw.ReadFrom(io.LimitReader(&d.zr, int64(limit)+1)); err != nil {
		return 0, err
	}
	if d.raw.Len() > limit {
		return 0, fmt.Errorf("it inflates to more than %d bytes", limit)
	}
	return countOf(d.raw.Bytes())
}

func countOf(raw []byte) (int, error) {
	r := &reader{rest: raw}
	n := r.number()
	if n > uint64(len(raw)/minEntryBytes) || n > maxBlockEntries {
		return 0, fmt.Errorf("it claims to hold %d entries in %d bytes", n, len(raw))
	}
	return int(n), r.err
}

// fill is the reverse of columns, for as many entries as there are.
func (d *decoder) fill(inv Inventory) error {
	r := &reader{rest: d.raw.Bytes()}
	r.number()
	if w, t := r.number(), r.number(); r.err == nil && (w != wordCount || t != textCount) {
		return fmt.Errorf("it has %d and %d columns, and this version reads %d and %d", w, t, wordCount, textCount)
	}
	for c := range wordCount {
		r.words(inv, c)
	}
	d.heads = slices.Grow(d.heads[:0], len(inv))[:len(inv)]
	for c := range textCount {
		r.texts(inv, c, d.heads)
	}
	for i := range inv {
		inv[i].Generation = r.signed()
	}
	for i := 0; i < len(inv) && len(r.rest) > 0; i++ {
		if inv[i].LeftOf = r.signed(); i+1 < len(inv) && len(r.rest) == 0 {
			r.fail(errTruncated)
		}
	}
	if r.err == nil && len(r.rest) > 0 {
		return fmt.Errorf("%d bytes are left over", len(r.rest))
	}
	if r.err != nil {
		return r.err
	}
	return inv.checkKeys()
}

// check says what makes entries unusable.
func (inv Inventory) check() error {
	for _, e := range inv {
		if e.Version == "" || e.Resource == "" {
			return fmt.Errorf("the entry of %s lacks an API version or resource", e.Key)
		}
	}
	return inv.checkKeys()
}

func (inv Inventory) checkKeys() error {
	for i, e := range inv {
		if e.Kind == "" || e.Name == "" {
			return fmt.Errorf("entry %d lacks a kind or name", i)
		}
		if i > 0 && inv[i-1].Compare(e.Key) >= 0 {
			return fmt.Errorf("entry %d (%s) is out of order", i, e.Key)
		}
	}
	return nil
}

var errTruncated = errors.New("it ends too early")

// reader takes numbers and texts off a block until the first error.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	return advance(r, n, size)
}

func (r *reader) signed() int64 {
	n, size := binary.Varint(r.rest)
	return advance(r, n, size)
}

func advance[T uint64 | int64](r *reader, n T, size int) T {
	if r.err != nil || size <= 0 {
		r.fail(errTruncated)
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) bytes(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.rest)) {
		r.fail(errTruncated)
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

func (r *reader) words(inv Inventory, column int) {
	n := r.number()
	if n > uint64(len(inv)) {
		r.fail(fmt.Errorf("%d words for %d entries", n, len(inv)))
		return
	}
	words := make([]string, n)
	for i := range words {
		words[i] = string(r.bytes(r.number()))
	}
	for i := range inv {
		pick := r.number()
		if pick >= n {
			r.fail(errTruncated)
			return
		}
		*inv[i].words()[column] = words[pick]
	}
}

// texts makes one string of a column, and the fields parts of it: that takes less
// room than a string for each.
func (r *reader) texts(inv Inventory, column int, heads []uint64) {
	size := 0
	for i := range heads {
		heads[i] = r.number()
		size += textLen(form(heads[i]&(1<<formBits-1)), min(heads[i]>>formBits, uint64(len(r.rest))))
	}
	if r.err != nil {
		return
	}
	var text strings.Builder
	text.Grow(min(size, 3*len(r.rest))) // no form is longer
	var one []byte
	for i, head := range heads {
		var err error
		if one, err = unpack(one[:0], form(head&(1<<formBits-1)), r.bytes(head>>formBits)); err != nil {
			r.fail(err)
			return
		}
		begin := text.Len()
		text.Write(one)
		*inv[i].texts()[column] = text.String()[begin:]
	}
}

// textLen is how long the text of n bytes is, or about that.
func textLen(f form, n uint64) int {
	bytes := int(n) //nolint:gosec // no more than there are
	switch f {
	case packed64:
		return base64.RawStdEncoding.EncodedLen(bytes)
	case packed16:
		return hex.EncodedLen(bytes)
	case packedID:
		return 36
	case decimal:
		return (bytes*7*3 + 9) / 10 // seven bits of a byte, ten of which are three digits
	default:
		return bytes
	}
}

// unpack appends a text to another.
func unpack(to []byte, f form, b []byte) ([]byte, error) {
	switch {
	case f > decimal:
		return to, fmt.Errorf("a text has the unknown form %d", f)
	case f == packedID && len(b) != 16:
		return to, fmt.Errorf("a UID has %d bytes", len(b))
	case f == decimal:
		n, size := binary.Uvarint(b)
		if size != len(b) || size <= 0 {
			return to, errors.New("a number is malformed")
		}
		return strconv.AppendUint(to, n, 10), nil
	}
	return appendText(to, f, b), nil
}
