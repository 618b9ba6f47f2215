// The file format of a prepared set (.islr), little-endian, version 1:
//
//     0      struct set_header, zero-padded to SET_FRAMES_AT
//     4096   frames: float32 [frame_count, LANDMARKS, 3], the clips one after the other
//     ..     struct set_record [clip_count]
//     ..     u64 [sign_count]: where each sign's name starts in the text
//     ..     struct set_skip [skipped_count]
//     ..     text: NUL-terminated strings, text_size bytes
//     end    (nothing behind it)
//
// Everything has its place by the counts alone, so there are no offsets to go astray; a file whose size is another than
// the counts give is damaged. Frames come first so that they can be written while the clips are prepared; the header,
// without which nothing is a set, is written last.
#ifndef ISLR_DATA_SET_FORMAT_H
#define ISLR_DATA_SET_FORMAT_H

#include <stdint.h>

#include "core/data/landmark.h"

static const char set_magic[8] = {'I', 'S', 'L', 'R', 's', 'e', 't', '\n'};
enum { SET_VERSION = 1, SET_FRAMES_AT = 4096, SET_FRAME_BYTES = LANDMARKS * 3 * 4 };
enum { SET_FOLDS_GIVEN = 1 }; // flags
enum { SET_MAX_LEN = 1 << 16 };

struct set_header {
    char magic[8];
    uint32_t version;
    uint32_t flags;
    uint64_t file_size;
    uint64_t clip_count;
    uint64_t frame_count;
    uint64_t skipped_count;
    uint64_t text_size;
    uint32_t sign_count;
    uint32_t max_len;
    uint32_t fold_count; // 0: none
    uint32_t reserved;   // 0
    uint64_t fold_seed;
    uint64_t first_row;     // of train.csv, from 0, that this file covers: a whole set covers all from 0,
    uint64_t row_count;     // a part of one a stretch; each row is a clip or skipped
    uint8_t source_key[32]; // prepare_plan.h: key
    uint8_t content[32];    // SHA-256 of this header up to source_key, and of all that follows the frames
    uint8_t check[32];      // SHA-256 of this header up to here
};

struct set_record {
    uint64_t first_frame;
    uint64_t path; // where it starts in the text
    int64_t participant, sequence;
    uint32_t frames, source_frames;
    int32_t label, fold;
    uint32_t left_missing, right_missing;
    uint8_t hash[32]; // SHA-256 of the frames' bytes
};

struct set_skip {
    uint64_t path, reason; // where they start in the text
};

_Static_assert(sizeof(struct set_header) == 192 && sizeof(struct set_record) == 88, "the format has no padding");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is used as it lies in memory");

#endif
