// Lets Go's checksum database code judge what the merkle room made: JSON in, JSON out.
//
// It computes roots and proofs of its own from the leaves, gives its verdict on ours, reads our tiles,
// opens our notes and signs one, so that the test can compare every answer.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type inclusion struct {
	Index int64       `json:"index"`
	Size  int64       `json:"size"`
	Body  []byte      `json:"body"`
	Proof []tlog.Hash `json:"proof"`
	Root  tlog.Hash   `json:"root"`
}

type consistency struct {
	Old     int64       `json:"old"`
	New     int64       `json:"new"`
	Proof   []tlog.Hash `json:"proof"`
	OldRoot tlog.Hash   `json:"old_root"`
	NewRoot tlog.Hash   `json:"new_root"`
}

type signedNote struct {
	VerifierKey string `json:"verifier_key"`
	Note        string `json:"note"`
}

type questions struct {
	Bodies      [][]byte      `json:"bodies"`
	Sizes       []int64       `json:"sizes"`
	Inclusion   []inclusion   `json:"inclusion"`
	Consistency []consistency `json:"consistency"`
	Notes       []signedNote  `json:"notes"`
	SignerKey   string        `json:"signer_key"`
	Text        string        `json:"text"`
	TileSize    int64         `json:"tile_size"`
	TileRoot    tlog.Hash     `json:"tile_root"`
	Tiles       tileFiles     `json:"tiles"`
	TileLeaves  []int64       `json:"tile_leaves"`
}

type answers struct {
	Roots            []tlog.Hash   `json:"roots"`
	InclusionProofs  [][]tlog.Hash `json:"inclusion_proofs"`
	ConsistencyProof [][]tlog.Hash `json:"consistency_proofs"`
	Inclusion        []bool        `json:"inclusion"`
	Consistency      []bool        `json:"consistency"`
	Notes            []bool        `json:"notes"`
	Signed           string        `json:"signed"`
	TileHashes       []tlog.Hash   `json:"tile_hashes"`
}

// tileFiles serves tiles by their C2SP path, which is Go's path without the height.
type tileFiles map[string][]byte

func (files tileFiles) Height() int { return 8 }

func (files tileFiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (files tileFiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		stored, ok := files[strings.Replace(tile.Path(), "tile/8/", "tile/", 1)]
		if !ok {
			return nil, fmt.Errorf("no tile %s", tile.Path())
		}
		found = append(found, stored)
	}
	return found, nil
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func logOf(bodies [][]byte) tlog.HashReader {
	var stored []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	for number, body := range bodies {
		hashes, err := tlog.StoredHashes(int64(number), body, read)
		must(err)
		stored = append(stored, hashes...)
	}
	return read
}

func judgeTrees(asked questions, read tlog.HashReader, told *answers) {
	for _, size := range asked.Sizes {
		root, err := tlog.TreeHash(size, read)
		must(err)
		told.Roots = append(told.Roots, root)
	}
	for _, one := range asked.Inclusion {
		proof, err := tlog.ProveRecord(one.Size, one.Index, read)
		must(err)
		told.InclusionProofs = append(told.InclusionProofs, proof)
		err = tlog.CheckRecord(one.Proof, one.Size, one.Root, one.Index, tlog.RecordHash(one.Body))
		told.Inclusion = append(told.Inclusion, err == nil)
	}
	for _, one := range asked.Consistency {
		proof, err := tlog.ProveTree(one.New, one.Old, read)
		must(err)
		told.ConsistencyProof = append(told.ConsistencyProof, proof)
		err = tlog.CheckTree(one.Proof, one.New, one.NewRoot, one.Old, one.OldRoot)
		told.Consistency = append(told.Consistency, err == nil)
	}
}

func judgeNotes(asked questions, told *answers) {
	for _, one := range asked.Notes {
		verifier, err := note.NewVerifier(one.VerifierKey)
		must(err)
		_, err = note.Open([]byte(one.Note), note.VerifierList(verifier))
		told.Notes = append(told.Notes, err == nil)
	}
	signer, err := note.NewSigner(asked.SignerKey)
	must(err)
	signed, err := note.Sign(&note.Note{Text: asked.Text}, signer)
	must(err)
	told.Signed = string(signed)
}

func readTiles(asked questions, told *answers) {
	read := tlog.TileHashReader(tlog.Tree{N: asked.TileSize, Hash: asked.TileRoot}, asked.Tiles)
	for _, leaf := range asked.TileLeaves {
		hashes, err := read.ReadHashes([]int64{tlog.StoredHashIndex(0, leaf)})
		must(err)
		told.TileHashes = append(told.TileHashes, hashes[0])
	}
}

func main() {
	var asked questions
	must(json.NewDecoder(os.Stdin).Decode(&asked))
	var told answers
	judgeTrees(asked, logOf(asked.Bodies), &told)
	judgeNotes(asked, &told)
	readTiles(asked, &told)
	must(json.NewEncoder(os.Stdout).Encode(told))
}
