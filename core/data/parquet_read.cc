// Reading one recording: see parquet.h. Uses Parquet's column readers directly, not Arrow tables: the six columns are
// decoded in batches straight into place, which is several times as fast for files of this size.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <parquet/column_reader.h>
#include <parquet/exception.h>
#include <parquet/file_reader.h>
#include <parquet/schema.h>

#include "core/base/file.h"
#include "core/data/parquet.h"
#include "core/data/parquet_pool.h"

namespace
{

constexpr int64_t BATCH = 8192; // rows decoded at a time
constexpr int64_t MAX_ROWS = int64_t{PARQUET_MAX_FRAMES} * RAW_LANDMARKS;
// Coordinates are about 1. With larger ones than this, sums and squares of a clip's would not be finite.
constexpr double MAX_COORDINATE = 1e30;
constexpr size_t MAX_FILE_BYTES = size_t{4} << 30;

// A fault of the file, told in words for the user.
struct fault : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The file cannot be opened or read, which says nothing of what is in it.
struct file_fault {
    int number; // errno; 0: it changes while it is read
};

struct part {
    const char *name;
    uint32_t length; // of the name
    int first, count;
};
constexpr part PARTS[] = {{"face", 4, RAW_FACE, RAW_FACE_COUNT},
                          {"left_hand", 9, RAW_LEFT_HAND, HAND_LANDMARKS},
                          {"pose", 4, RAW_POSE, RAW_POSE_COUNT},
                          {"right_hand", 10, RAW_RIGHT_HAND, HAND_LANDMARKS}};

// "face 12" of raw landmark `index`.
std::string landmark_name(int index)
{
    for (const part &p : PARTS)
        if (index < p.first + p.count)
            return std::string(p.name) + " " + std::to_string(index - p.first);
    return "?";
}

enum column { FRAME, TYPE, INDEX, X, Y, Z, COLUMNS };
constexpr const char *COLUMN_NAMES[COLUMNS] = {"frame", "type", "landmark_index", "x", "y", "z"};

} // namespace

struct parquet_reader {
    parquet_pool pool;
    std::vector<uint8_t> bytes;         // the file
    std::vector<int64_t> frame, number; // each row's frame number; the distinct ones, ascending
    std::vector<int16_t> place;         // each row's raw landmark, 0..RAW_LANDMARKS-1; first the index in the file
    std::vector<int16_t> part_of;       // each row's index into PARTS
    std::vector<uint32_t> slot;         // each row's place in the result: frame * RAW_LANDMARKS + landmark
    std::vector<uint8_t> seen;          // for each slot
    std::vector<double> x;              // the result
    std::vector<int16_t> levels;        // scratch for one batch, as are the values:
    std::vector<int32_t> ints;
    std::vector<int64_t> longs;
    std::vector<float> floats;
    std::vector<double> doubles;
    std::vector<parquet::ByteArray> texts;
};

namespace
{

void read_file(parquet_reader &r, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) {
        int saved = errno;
        if (fd >= 0)
            close(fd);
        throw file_fault{saved};
    }
    size_t size = S_ISREG(st.st_mode) ? static_cast<size_t>(st.st_size) : 0, done = 0;
    if (!size || size > MAX_FILE_BYTES) {
        close(fd);
        throw fault(!S_ISREG(st.st_mode) ? "not a regular file" : size ? "larger than 4 GiB" : "the file is empty");
    }
    r.bytes.resize(size);
    while (done < size) {
        ssize_t n = read(fd, r.bytes.data() + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int saved = n < 0 ? errno : 0;
            close(fd);
            throw file_fault{saved};
        }
        done += static_cast<size_t>(n);
    }
    close(fd);
}

// The positions of the six columns in the file, by name; their types are checked.
void find_columns(const parquet::SchemaDescriptor &schema, int at[COLUMNS])
{
    std::string missing;
    for (int c = 0; c < COLUMNS; c++) {
        at[c] = schema.ColumnIndex(COLUMN_NAMES[c]); // of the whole dotted path, so a top-level column; -1 if none
        if (at[c] < 0)
            missing += (missing.empty() ? "" : ", ") + std::string(COLUMN_NAMES[c]);
    }
    if (!missing.empty())
        throw fault("columns missing: " + missing);
    for (int c = 0; c < COLUMNS; c++) {
        const parquet::ColumnDescriptor &d = *schema.Column(at[c]);
        parquet::Type::type t = d.physical_type();
        bool right = c == TYPE                  ? t == parquet::Type::BYTE_ARRAY
                     : c == FRAME || c == INDEX ? t == parquet::Type::INT32 || t == parquet::Type::INT64
                                                : t == parquet::Type::FLOAT || t == parquet::Type::DOUBLE;
        if (!right || d.max_repetition_level() > 0)
            throw fault(std::string("column ") + COLUMN_NAMES[c] + " is " + parquet::TypeToString(t) +
                        (d.max_repetition_level() > 0 ? " (repeated)" : "") + ", not " +
                        (c == TYPE                  ? "text"
                         : c == FRAME || c == INDEX ? "an integer"
                                                    : "float or double"));
    }
}

// Calls take(first row of the batch, values, present levels or NULL, rows, values read) for each batch of a column
// chunk and returns its number of rows. Values are dense: a row whose level is below `full` (the column's highest
// definition level) is a null and has none.
template <typename Type, typename Value, typename Take>
int64_t read_batches(parquet_reader &r, parquet::ColumnReader &column, std::vector<Value> &values, int64_t limit,
                     Take take)
{
    auto &typed = static_cast<parquet::TypedColumnReader<Type> &>(column);
    bool nullable = column.descr()->max_definition_level() > 0;
    values.resize(BATCH);
    r.levels.resize(BATCH);
    int64_t row = 0;
    while (typed.HasNext()) {
        int64_t read = 0;
        int64_t rows = typed.ReadBatch(BATCH, nullable ? r.levels.data() : nullptr, nullptr, values.data(), &read);
        if (rows <= 0 || row + rows > limit)
            throw fault("a column holds another number of rows than its row group says");
        take(row, values.data(), nullable && read < rows ? r.levels.data() : nullptr, rows, read);
        row += rows;
    }
    return row;
}

// frame or landmark_index of a row group's rows: calls put(row, value).
template <typename Put>
int64_t read_integers(parquet_reader &r, parquet::ColumnReader &column, int64_t limit, const char *name, Put put)
{
    auto take = [&](int64_t row, auto *values, const int16_t *levels, int64_t rows, int64_t) {
        if (levels)
            throw fault(std::string("column ") + name + " has nulls");
        for (int64_t i = 0; i < rows; i++)
            put(row + i, static_cast<int64_t>(values[i]));
    };
    if (column.type() == parquet::Type::INT32)
        return read_batches<parquet::Int32Type>(r, column, r.ints, limit, take);
    return read_batches<parquet::Int64Type>(r, column, r.longs, limit, take);
}

int64_t read_types(parquet_reader &r, parquet::ColumnReader &column, int64_t limit, size_t base)
{
    auto take = [&](int64_t row, const parquet::ByteArray *values, const int16_t *levels, int64_t rows, int64_t) {
        if (levels)
            throw fault("column type has nulls");
        for (int64_t i = 0; i < rows; i++) {
            int16_t found = -1;
            for (int16_t p = 0; p < 4 && found < 0; p++)
                if (values[i].len == PARTS[p].length && !memcmp(values[i].ptr, PARTS[p].name, PARTS[p].length))
                    found = p;
            if (found < 0) {
                std::string text(reinterpret_cast<const char *>(values[i].ptr), std::min(values[i].len, 40u));
                throw fault("unknown landmark type \"" + text + "\"");
            }
            r.part_of[base + static_cast<size_t>(row + i)] = found;
        }
    };
    return read_batches<parquet::ByteArrayType>(r, column, r.texts, limit, take);
}

// Where a row group's rows belong: frame number and landmark of each.
void read_keys(parquet_reader &r, parquet::RowGroupReader &group, const int at[COLUMNS])
{
    size_t base = r.frame.size();
    int64_t rows = group.metadata()->num_rows();
    if (rows < 0 || rows > MAX_ROWS - static_cast<int64_t>(base))
        throw fault("more than " + std::to_string(PARQUET_MAX_FRAMES) + " frames");
    r.frame.resize(base + static_cast<size_t>(rows));
    r.place.resize(r.frame.size());
    r.part_of.resize(r.frame.size());
    int64_t *frame = r.frame.data() + base;
    int16_t *place = r.place.data() + base;
    int64_t frames = read_integers(r, *group.Column(at[FRAME]), rows, "frame",
                                   [&](int64_t row, int64_t value) { frame[row] = value; });
    int64_t types = read_types(r, *group.Column(at[TYPE]), rows, base);
    int64_t indices = read_integers(r, *group.Column(at[INDEX]), rows, "landmark_index", [&](int64_t row, int64_t v) {
        place[row] = v < 0 || v >= RAW_LANDMARKS ? int16_t{-1} : static_cast<int16_t>(v);
    });
    if (frames != rows || types != rows || indices != rows)
        throw fault("a column holds another number of rows than its row group says");
    const int16_t *part_of = r.part_of.data() + base;
    for (int64_t i = 0; i < rows; i++) {
        const part &p = PARTS[part_of[i]];
        if (place[i] < 0 || place[i] >= p.count)
            throw fault("frame " + std::to_string(frame[i]) + " has a landmark_index outside 0.." +
                        std::to_string(p.count - 1) + " for " + p.name);
        place[i] = static_cast<int16_t>(p.first + place[i]);
    }
}

[[noreturn]] void throw_missing(const parquet_reader &r, size_t rows)
{
    size_t first = static_cast<size_t>(std::find(r.seen.begin(), r.seen.end(), 0) - r.seen.begin());
    throw fault(std::to_string(r.seen.size() - rows) + " rows missing, the first: frame " +
                std::to_string(r.number[first / RAW_LANDMARKS]) + " has no " +
                landmark_name(static_cast<int>(first % RAW_LANDMARKS)));
}

// Turns frame numbers into frames 0.. and checks that each has each landmark once.
void place_rows(parquet_reader &r)
{
    size_t rows = r.frame.size();
    if (!rows)
        throw fault("no frames");
    r.number.clear();
    for (size_t i = 0; i < rows; i++)
        if (!i || r.frame[i] != r.frame[i - 1])
            r.number.push_back(r.frame[i]);
    std::sort(r.number.begin(), r.number.end());
    r.number.erase(std::unique(r.number.begin(), r.number.end()), r.number.end());
    if (r.number.size() > PARQUET_MAX_FRAMES)
        throw fault("more than " + std::to_string(PARQUET_MAX_FRAMES) + " frames");
    r.seen.assign(r.number.size() * RAW_LANDMARKS, 0);
    r.slot.resize(rows);
    size_t frame = 0;
    for (size_t i = 0; i < rows; i++) {
        if (r.number[frame] != r.frame[i])
            frame =
                static_cast<size_t>(std::lower_bound(r.number.begin(), r.number.end(), r.frame[i]) - r.number.begin());
        size_t slot = frame * RAW_LANDMARKS + static_cast<size_t>(r.place[i]);
        if (r.seen[slot]++)
            throw fault("frame " + std::to_string(r.frame[i]) + " has " + landmark_name(r.place[i]) + " twice");
        r.slot[i] = static_cast<uint32_t>(slot);
    }
    if (rows != r.seen.size())
        throw_missing(r, rows);
}

// The row of value `i` among rows of which those below `full` have none.
int64_t row_of_value(const int16_t *levels, int full, int64_t i)
{
    int64_t row = 0;
    while (levels && (levels[row] < full || i-- > 0))
        row++;
    return levels ? row : i;
}

[[noreturn]] void throw_coordinate(int axis, size_t row, double value)
{
    char text[100];
    snprintf(text, sizeof text, "column %s, row %zu: %g is no coordinate (at most %g)", COLUMN_NAMES[X + axis], row,
             value, MAX_COORDINATE);
    throw fault(text);
}

// x, y or z of a row group whose rows begin at `base`.
void read_coordinate(parquet_reader &r, parquet::ColumnReader &column, size_t base, int64_t rows, int axis)
{
    const uint32_t *slot = r.slot.data() + base;
    double *out = r.x.data() + axis;
    int full = column.descr()->max_definition_level();
    auto take = [&](int64_t row, auto *values, const int16_t *levels, int64_t count, int64_t read) {
        bool sound = true;
        for (int64_t i = 0; i < read; i++)
            sound &= !(std::fabs(double{values[i]}) > MAX_COORDINATE);
        for (int64_t i = 0; i < read && !sound; i++)
            if (std::fabs(double{values[i]}) > MAX_COORDINATE)
                throw_coordinate(axis, base + static_cast<size_t>(row + row_of_value(levels, full, i)), values[i]);
        int64_t next = 0;
        for (int64_t i = 0; i < count; i++)
            out[size_t{slot[row + i]} * 3] =
                levels && levels[i] < full ? std::numeric_limits<double>::quiet_NaN() : double{values[next++]};
    };
    int64_t got = column.type() == parquet::Type::FLOAT
                      ? read_batches<parquet::FloatType>(r, column, r.floats, rows, take)
                      : read_batches<parquet::DoubleType>(r, column, r.doubles, rows, take);
    if (got != rows)
        throw fault("a column holds another number of rows than its row group says");
}

void read_clip(parquet_reader &r, const char *path)
{
    read_file(r, path);
    auto buffer = std::make_shared<arrow::Buffer>(r.bytes.data(), static_cast<int64_t>(r.bytes.size()));
    parquet::ReaderProperties properties(&r.pool);
    auto file = parquet::ParquetFileReader::Open(std::make_shared<arrow::io::BufferReader>(buffer), properties);
    int at[COLUMNS], groups = file->metadata()->num_row_groups();
    find_columns(*file->metadata()->schema(), at);
    r.frame.clear();
    r.place.clear();
    r.part_of.clear();
    for (int g = 0; g < groups; g++)
        read_keys(r, *file->RowGroup(g), at);
    place_rows(r);
    r.x.resize(r.seen.size() * 3);
    size_t base = 0;
    for (int g = 0; g < groups; g++) {
        auto group = file->RowGroup(g);
        int64_t rows = group->metadata()->num_rows();
        for (int axis = 0; axis < 3; axis++)
            read_coordinate(r, *group->Column(at[X + axis]), base, rows, axis);
        base += static_cast<size_t>(rows);
    }
}

int set_unreadable(struct error *e, int number)
{
    enum error_code code = number == ENOENT || number == ENOTDIR ? ERR_NOT_FOUND
                           : number == EACCES || number == EPERM ? ERR_DENIED
                                                                 : ERR_FAILED;
    return error_set(e, code, "cannot be read: %s", number ? strerror(number) : "it shrank meanwhile");
}

int set_starved(struct error *e)
{
    return error_set(e, ERR_FAILED, "reading it takes more memory than there is");
}

// What Arrow says may have several lines and bytes of the file in it.
int set_damaged(struct error *e, const char *what, const char *text)
{
    std::string line(text);
    for (char &c : line)
        c = c == '\n' ? ' ' : c < ' ' || c > '~' ? '?' : c;
    return error_set(e, ERR_DAMAGED, "%s%s", what, line.c_str());
}

} // namespace

extern "C" struct parquet_reader *parquet_reader_create(void)
{
    return new parquet_reader;
}

extern "C" void parquet_reader_destroy(struct parquet_reader *r)
{
    delete r;
}

extern "C" int parquet_read_clip(struct parquet_reader *r, const char *path, const double **x, int *frames,
                                 struct error *e)
{
    r->pool.starved = false;
    try {
        read_clip(*r, path);
        *x = r->x.data();
        *frames = static_cast<int>(r->number.size());
        return 0;
    } catch (const fault &f) {
        return set_damaged(e, "", f.what());
    } catch (const file_fault &f) {
        return set_unreadable(e, f.number);
    } catch (const std::bad_alloc &) {
        return set_starved(e);
    } catch (const std::exception &f) {
        return r->pool.starved ? set_starved(e) : set_damaged(e, "not a sound parquet file: ", f.what());
    } catch (...) {
        return error_set(e, ERR_DAMAGED, "not a sound parquet file");
    }
}
