// Package sops decrypts what SOPS encrypted, with keys of every kind: age, OpenPGP,
// AWS KMS, Google Cloud KMS, Azure Key Vault, and the transit engine of Vault and
// OpenBao. It is a [kustomize.Decrypter]:
//
//	secrets, err := sops.New(sops.Options{OpenPGP: [][]byte{armoredKey}})
//	res, err := kustomize.Build(ctx, tree, "deploy", kustomize.Options{Decrypter: secrets})
//
// It is a module of its own, because SOPS brings the clients of all these services:
// more than three hundred modules. For age alone, kustomize.NewAgeDecrypter costs
// next to nothing.
//
// # Guarantees
//
//   - The work is done by SOPS's own code, the checksum over each file included.
//   - A key or credential is used only where the caller gave it: none is taken from
//     the environment, from files of the user, from an agent or from a metadata
//     service, and no program is run. OpenPGP is done in this process. (The clients
//     of the services do read proxies, certificates and endpoints from the
//     environment.)
//   - Keys split among several groups are put together.
//   - No error holds a key or plain text.
//
// # Limits
//
// Which service is asked, and for which key, stands in the encrypted file. So a
// token of Vault goes to the addresses alone that it was given for, and Azure's only
// to hosts of Azure's, or of [Options].AzureHosts. AWS and Google have addresses that
// no file can choose.
//
// OpenPGP keys that need a passphrase are refused, and so are keys of Huawei's
// service.
//
// SOPS logs a warning of its own to the standard error stream where a comment that
// should be encrypted is not.
//
// # Threat model
//
// Whoever writes to the tree may want to have a credential sent to them, or a secret
// written where they can read it. The first is what the limits above are for. As to
// the second, the build decrypts into Secrets and objects only, never into
// ConfigMaps; who may read those is up to the cluster.
package sops
