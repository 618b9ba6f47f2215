// Writing one recording: see parquet.h.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include <arrow/io/file.h>
#include <arrow/memory_pool.h>
#include <arrow/util/compression.h>
#include <parquet/column_writer.h>
#include <parquet/exception.h>
#include <parquet/file_writer.h>
#include <parquet/properties.h>
#include <parquet/schema.h>

#include "core/data/parquet.h"

namespace
{

using parquet::Repetition;

constexpr struct {
    const char *name;
    int count;
} PARTS[] = {
    {"face", RAW_FACE_COUNT}, {"left_hand", HAND_LANDMARKS}, {"pose", RAW_POSE_COUNT}, {"right_hand", HAND_LANDMARKS}};

std::shared_ptr<parquet::schema::GroupNode> make_schema()
{
    using parquet::schema::PrimitiveNode;
    auto int16 = parquet::LogicalType::Int(16, true);
    auto text = parquet::LogicalType::String();
    parquet::schema::NodeVector fields = {
        PrimitiveNode::Make("frame", Repetition::OPTIONAL, int16, parquet::Type::INT32),
        PrimitiveNode::Make("row_id", Repetition::OPTIONAL, text, parquet::Type::BYTE_ARRAY),
        PrimitiveNode::Make("type", Repetition::OPTIONAL, text, parquet::Type::BYTE_ARRAY),
        PrimitiveNode::Make("landmark_index", Repetition::OPTIONAL, int16, parquet::Type::INT32),
        PrimitiveNode::Make("x", Repetition::OPTIONAL, parquet::Type::DOUBLE),
        PrimitiveNode::Make("y", Repetition::OPTIONAL, parquet::Type::DOUBLE),
        PrimitiveNode::Make("z", Repetition::OPTIONAL, parquet::Type::DOUBLE)};
    return std::static_pointer_cast<parquet::schema::GroupNode>(
        parquet::schema::GroupNode::Make("schema", Repetition::REQUIRED, fields));
}

// Row ids share long prefixes and coordinates have few significant bytes: these encodings make files half as large.
std::shared_ptr<parquet::WriterProperties> make_properties()
{
    parquet::WriterProperties::Builder builder;
    builder.disable_dictionary("row_id")->encoding("row_id", parquet::Encoding::DELTA_BYTE_ARRAY);
    for (const char *name : {"x", "y", "z"})
        builder.disable_dictionary(name)->encoding(name, parquet::Encoding::BYTE_STREAM_SPLIT);
    builder.disable_statistics()->memory_pool(arrow::system_memory_pool());
    if (arrow::util::Codec::IsAvailable(arrow::Compression::SNAPPY))
        builder.compression(parquet::Compression::SNAPPY);
    return builder.build();
}

struct rows {
    std::vector<int32_t> frame, index;
    std::vector<std::string> id;
    std::vector<parquet::ByteArray> id_array, type;
    std::vector<int16_t> present; // definition level 1 of every row

    explicit rows(int frames)
    {
        size_t count = static_cast<size_t>(frames) * RAW_LANDMARKS;
        frame.reserve(count);
        index.reserve(count);
        id.reserve(count);
        type.reserve(count);
        for (int f = 0; f < frames; f++)
            for (const auto &part : PARTS)
                for (int i = 0; i < part.count; i++) {
                    frame.push_back(f);
                    index.push_back(i);
                    id.push_back(std::to_string(f) + "-" + part.name + "-" + std::to_string(i));
                    type.emplace_back(part.name);
                }
        for (const std::string &text : id)
            id_array.emplace_back(text);
        present.assign(count, 1);
    }
};

template <typename Type, typename Value>
void write_column(parquet::RowGroupWriter &group, const std::vector<Value> &values, const std::vector<int16_t> &levels)
{
    auto *column = static_cast<parquet::TypedColumnWriter<Type> *>(group.NextColumn());
    column->WriteBatch(static_cast<int64_t>(levels.size()), levels.data(), nullptr, values.data());
    column->Close();
}

void write_coordinate(parquet::RowGroupWriter &group, const double *x, size_t count, int axis)
{
    std::vector<double> values;
    std::vector<int16_t> levels(count);
    values.reserve(count);
    for (size_t i = 0; i < count; i++) {
        double v = x[3 * i + static_cast<size_t>(axis)];
        levels[i] = !std::isnan(v);
        if (levels[i])
            values.push_back(v);
    }
    write_column<parquet::DoubleType>(group, values, levels);
}

void write_clip(const char *path, const double *x, int frames)
{
    rows r(frames);
    auto opened = arrow::io::FileOutputStream::Open(path);
    if (!opened.ok())
        throw parquet::ParquetException(opened.status().ToString());
    auto stream = *opened;
    auto file = parquet::ParquetFileWriter::Open(stream, make_schema(), make_properties());
    parquet::RowGroupWriter &group = *file->AppendRowGroup();
    write_column<parquet::Int32Type>(group, r.frame, r.present);
    write_column<parquet::ByteArrayType>(group, r.id_array, r.present);
    write_column<parquet::ByteArrayType>(group, r.type, r.present);
    write_column<parquet::Int32Type>(group, r.index, r.present);
    for (int axis = 0; axis < 3; axis++)
        write_coordinate(group, x, r.present.size(), axis);
    group.Close();
    file->Close();
    arrow::Status closed = stream->Close();
    if (!closed.ok())
        throw parquet::ParquetException(closed.ToString());
}

} // namespace

extern "C" int parquet_write_clip(const char *path, const double *x, int frames, struct error *e)
{
    try {
        write_clip(path, x, frames);
        return 0;
    } catch (const std::exception &f) {
        remove(path);
        return error_set(e, ERR_FAILED, "cannot write %s: %s", path, f.what());
    } catch (...) {
        remove(path);
        return error_set(e, ERR_FAILED, "cannot write %s", path);
    }
}
