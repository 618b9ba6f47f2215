// Parquet files for tests: see parquet_maker.h.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <arrow/io/file.h>
#include <arrow/util/compression.h>
#include <parquet/column_writer.h>
#include <parquet/exception.h>
#include <parquet/file_writer.h>
#include <parquet/properties.h>
#include <parquet/schema.h>

#include "tests/data/parquet_maker.h"

namespace
{

struct column {
    std::string name, type;
    bool required;
};

std::vector<column> parse_columns(const char *text)
{
    std::vector<column> columns;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        bool required = word.back() == '!';
        if (required)
            word.pop_back();
        size_t colon = word.find(':');
        columns.push_back({word.substr(0, colon), word.substr(colon + 1), required});
    }
    return columns;
}

parquet::schema::NodePtr make_node(const column &c)
{
    using parquet::schema::PrimitiveNode;
    auto repetition = c.required ? parquet::Repetition::REQUIRED : parquet::Repetition::OPTIONAL;
    if (c.type == "text")
        return PrimitiveNode::Make(c.name, repetition, parquet::LogicalType::String(), parquet::Type::BYTE_ARRAY);
    return PrimitiveNode::Make(c.name, repetition,
                               c.type == "int32"   ? parquet::Type::INT32
                               : c.type == "int64" ? parquet::Type::INT64
                               : c.type == "float" ? parquet::Type::FLOAT
                                                   : parquet::Type::DOUBLE);
}

double number(const struct made_file &f, const std::string &name, size_t row)
{
    if (name == "frame")
        return static_cast<double>(f.frame[row]);
    if (name == "landmark_index")
        return static_cast<double>(f.index[row]);
    if (name.size() == 1 && name[0] >= 'x' && name[0] <= 'z')
        return f.x[3 * row + static_cast<size_t>(name[0] - 'x')];
    return static_cast<double>(row % 7);
}

template <typename Type>
void write_numbers(parquet::ColumnWriter *writer, const struct made_file &f, const column &c, size_t from, size_t to)
{
    std::vector<typename Type::c_type> values;
    std::vector<int16_t> levels;
    for (size_t row = from; row < to; row++) {
        double v = number(f, c.name, row);
        bool null = f.nulls && std::isnan(v) && !c.required;
        levels.push_back(!null);
        if (!null)
            values.push_back(static_cast<typename Type::c_type>(v));
    }
    static_cast<parquet::TypedColumnWriter<Type> *>(writer)->WriteBatch(static_cast<int64_t>(levels.size()),
                                                                        levels.data(), nullptr, values.data());
}

void write_texts(parquet::ColumnWriter *writer, const struct made_file &f, const column &c, size_t from, size_t to)
{
    std::vector<parquet::ByteArray> values;
    std::vector<int16_t> levels;
    for (size_t row = from; row < to; row++) {
        const char *text = c.name == "type" ? f.type[row] : "something";
        levels.push_back(text != nullptr);
        if (text)
            values.emplace_back(text);
    }
    static_cast<parquet::ByteArrayWriter *>(writer)->WriteBatch(static_cast<int64_t>(levels.size()), levels.data(),
                                                                nullptr, values.data());
}

void write_column(parquet::ColumnWriter *writer, const struct made_file &f, const column &c, size_t from, size_t to)
{
    if (c.type == "text")
        write_texts(writer, f, c, from, to);
    else if (c.type == "int32")
        write_numbers<parquet::Int32Type>(writer, f, c, from, to);
    else if (c.type == "int64")
        write_numbers<parquet::Int64Type>(writer, f, c, from, to);
    else if (c.type == "float")
        write_numbers<parquet::FloatType>(writer, f, c, from, to);
    else
        write_numbers<parquet::DoubleType>(writer, f, c, from, to);
    writer->Close();
}

void write_file(const char *path, const struct made_file &f, arrow::Compression::type codec)
{
    std::vector<column> columns = parse_columns(f.columns);
    parquet::schema::NodeVector nodes;
    for (const column &c : columns)
        nodes.push_back(make_node(c));
    auto schema = std::static_pointer_cast<parquet::schema::GroupNode>(
        parquet::schema::GroupNode::Make("schema", parquet::Repetition::REQUIRED, nodes));
    parquet::WriterProperties::Builder properties;
    properties.compression(codec);
    if (f.plain)
        properties.disable_dictionary();
    auto stream = *arrow::io::FileOutputStream::Open(path);
    auto file = parquet::ParquetFileWriter::Open(stream, schema, properties.build());
    size_t step = f.group_rows ? f.group_rows : f.rows;
    for (size_t from = 0; from < f.rows; from += step) {
        parquet::RowGroupWriter &group = *file->AppendRowGroup();
        for (const column &c : columns)
            write_column(group.NextColumn(), f, c, from, from + step < f.rows ? from + step : f.rows);
        group.Close();
    }
    file->Close();
    if (!stream->Close().ok())
        throw std::runtime_error("cannot close");
}

} // namespace

extern "C" int parquet_make(const char *path, const struct made_file *f)
{
    auto codec = arrow::util::Codec::GetCompressionType(strcmp(f->codec, "none") ? f->codec : "uncompressed");
    if (!codec.ok() || !arrow::util::Codec::IsAvailable(*codec))
        return -1;
    try {
        write_file(path, *f, *codec);
    } catch (const std::exception &e) {
        fprintf(stderr, "parquet_make: %s: %s\n", path, e.what());
        abort();
    }
    return 0;
}
