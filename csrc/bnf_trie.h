/* The tokens of a vocabulary as a trie of bytes, and what else the families know that look tokens up instead of merging. The trie is built
 * by _core/vocab/vocab_trie.pyx and immutable then. Mirrored by _core/bnf_trie.pxd.
 * Next: _core/tokenize/tokenize_wordpiece.pyx, _unigram, _rwkv, _plamo, _dna. */
#ifndef BNF_TRIE_H
#define BNF_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Nodes are numbered breadth first, children by their byte. So the children of node i are the nodes from first[i] up to
 * first[i + 1], and 9 bytes a node are enough. Node 0 is the root; it is nobody's child, so 0 says that there is none. */
struct bnf_trie {
    uint32_t *first;    /* [n_nodes + 1] */
    uint32_t *token;    /* [n_nodes] token + 1, 0: no token ends here */
    uint8_t *label;     /* [n_nodes] the byte that leads to the node */
    uint32_t n_nodes;   /* 0: an empty trie, which may not be asked */
    uint32_t root[256]; /* the child of node 0 for each byte */
};

/* The child of a node, or 0. */
static inline uint32_t bnf_trie_child(const struct bnf_trie *trie, uint32_t node, uint8_t byte)
{
    if (node == 0)
        return trie->root[byte];
    uint32_t low = trie->first[node], high = trie->first[node + 1];
    while (high - low > 4) { /* the child, if it is there, is in [low, high) */
        const uint32_t middle = low + (high - low) / 2;
        if (trie->label[middle] <= byte)
            low = middle;
        else
            high = middle;
    }
    for (; low < high; low++)
        if (trie->label[low] == byte)
            return low;
    return 0;
}

/* The longest token that text begins with, up to `end`, and its length; UINT32_MAX: none. */
static inline uint32_t bnf_trie_longest(const struct bnf_trie *trie, const uint8_t *text, const uint8_t *end, size_t *len)
{
    uint32_t node = 0, found = 0;
    for (const uint8_t *p = text; p < end; p++) {
        node = bnf_trie_child(trie, node, *p);
        if (node == 0)
            break;
        if (trie->token[node] != 0) {
            found = trie->token[node];
            *len = (size_t)(p - text) + 1;
        }
    }
    return found - 1;
}

struct bnf_match { /* all zero for the families that merge */
    struct bnf_trie tokens; /* texts; RWKV: pieces; DNA: strands of six letters */
    struct bnf_trie user;   /* Unigram: user-defined tokens, which normalizing leaves as they are */
    bool lowercase, strip_accents; /* WordPiece; lowercase also where drop_white is */
    bool merge_spaces;      /* Unigram: remove_extra_whitespaces */
    float unknown_score;    /* Unigram: of a character that is no token */
    uint32_t *units;        /* Unigram: the charsmap, see tokenize_unigram.pyx */
    uint32_t n_units;
    uint8_t *replacements;  /* NUL-terminated strings; the last byte is NUL */
    uint32_t replacements_size;
    int32_t *cost;          /* PLaMo-2: [n_tokens] -10000 times the score, rounded */
    uint8_t *strand;        /* DNA: [n_tokens] 1: the token is one */
};

#endif
