package gc

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
)

const (
	// MaxStoredBytes is the most that a ConfigMapStore writes into its object,
	// compressed. The API server refuses objects somewhat above it. It holds about
	// ten thousand entries.
	MaxStoredBytes = 900 << 10

	// maxInflatedBytes bounds what is read back: whoever may write the ConfigMap
	// could put a decompression bomb there.
	maxInflatedBytes = 64 << 20

	formatVersion = 1
)

// ErrTooLarge says that an inventory does not fit into its store. Split the set.
var ErrTooLarge error = tooLargeError{}

type tooLargeError struct{}

func (tooLargeError) Error() string {
	return "the inventory is too large for its store; split the set into several"
}

// Terminal says that trying again cannot help.
func (tooLargeError) Terminal() bool { return true }

type document struct {
	Format  int       `json:"format"`
	Entries Inventory `json:"entries"`
}

func encode(inv Inventory) ([]byte, error) {
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := json.NewEncoder(zw).Encode(document{formatVersion, inv}); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	if buf.Len() > MaxStoredBytes {
		return nil, fmt.Errorf("%d entries take %d bytes of at most %d: %w", len(inv), buf.Len(), MaxStoredBytes, ErrTooLarge)
	}
	return buf.Bytes(), nil
}

func decode(data []byte) (Inventory, error) {
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(zr, maxInflatedBytes+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxInflatedBytes {
		return nil, fmt.Errorf("it inflates to more than %d bytes", maxInflatedBytes)
	}
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	if doc.Format != formatVersion {
		return nil, fmt.Errorf("its format is %d and this version reads %d", doc.Format, formatVersion)
	}
	for i, e := range doc.Entries {
		if e.Kind == "" || e.Name == "" || e.Version == "" || e.Resource == "" {
			return nil, fmt.Errorf("entry %d lacks a kind, name, version or resource", i)
		}
	}
	return NewInventory(doc.Entries...), nil
}
