package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// addOpenPGP adds the keys of one armored block. A key that cannot be used is
// an error: it may be the one that was revoked.
func (k *Keys) addOpenPGP(text string) error {
	block, err := armor.Decode(strings.NewReader(text))
	if err != nil {
		return err
	}
	packets := packet.NewReader(block.Body)
	for n := 0; ; n++ {
		key, err := openpgp.ReadEntity(packets)
		if errors.Is(err, io.EOF) && n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if self, _ := key.PrimarySelfSignature(); self == nil {
			return errors.New("it has no valid signature of its own")
		}
		k.pgp = append(k.pgp, key)
	}
}

// mergeOpenPGP puts copies of a key together, such as one from before and one
// from after it was revoked, so that the order of files makes no difference.
func mergeOpenPGP(list openpgp.EntityList) openpgp.EntityList {
	var merged openpgp.EntityList
next:
	for _, key := range list {
		for _, same := range merged {
			if bytes.Equal(same.PrimaryKey.Fingerprint, key.PrimaryKey.Fingerprint) {
				mergeKey(same, key)
				continue next
			}
		}
		merged = append(merged, key)
	}
	return merged
}

func mergeKey(into, from *openpgp.Entity) {
	into.Revocations = append(into.Revocations, from.Revocations...)
	into.SelfSignature = newer(into.SelfSignature, from.SelfSignature)
	for name, identity := range from.Identities {
		same := into.Identities[name]
		if same == nil {
			into.Identities[name] = identity
			continue
		}
		same.Revocations = append(same.Revocations, identity.Revocations...)
		same.SelfSignature = newer(same.SelfSignature, identity.SelfSignature)
	}
next:
	for _, sub := range from.Subkeys {
		for i := range into.Subkeys {
			same := &into.Subkeys[i]
			if bytes.Equal(same.PublicKey.Fingerprint, sub.PublicKey.Fingerprint) {
				same.Revocations = append(same.Revocations, sub.Revocations...)
				same.Sig = newer(same.Sig, sub.Sig)
				continue next
			}
		}
		into.Subkeys = append(into.Subkeys, sub)
	}
}

// newer returns the later of two signatures of which either may be missing. Of
// two of one second it is always the same.
func newer(a, b *packet.Signature) *packet.Signature {
	switch {
	case a == nil:
		return b
	case b == nil || a.CreationTime.After(b.CreationTime):
		return a
	case b.CreationTime.After(a.CreationTime) || bytes.Compare(b.HashSuffix, a.HashSuffix) > 0:
		return b
	}
	return a
}

// openPGPFacts are what a key says about itself: what was hashed for each of
// its signatures that counts.
func openPGPFacts(key *openpgp.Entity) []string {
	name := fmt.Sprintf("openpgp %x", key.PrimaryKey.Fingerprint)
	facts := []string{name}
	add := func(what string, signatures ...*packet.Signature) {
		for _, sig := range signatures {
			if sig != nil {
				facts = append(facts, fmt.Sprintf("%s %s %x", name, what, sig.HashSuffix))
			}
		}
	}
	add("key", key.SelfSignature)
	add("key", key.Revocations...)
	for user, identity := range key.Identities {
		what := fmt.Sprintf("user %q", user)
		add(what, identity.SelfSignature)
		add(what, identity.Revocations...)
	}
	for _, sub := range key.Subkeys {
		what := fmt.Sprintf("subkey %x", sub.PublicKey.Fingerprint)
		add(what, sub.Sig)
		add(what, sub.Revocations...)
	}
	return facts
}
