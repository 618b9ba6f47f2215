// One DeBERTa-v2 encoder over packed rows (reference section 3). The 2L relative embeddings stand as rows before the
// input's, because they go through the same query and key projections: one matrix product serves both.
#include "core/nn/layers.h"

static const float encoder_eps = 1e-7f;

static int relative_rows(const struct model *m)
{
    return 2 * m->config.max_len;
}

void encoder_plan(struct workspace *w, const struct model *m, struct arena *a, int i, int clips)
{
    struct encoder_space *t = &w->encoder[i];
    int rows = view_rows_max(clips, m->config.max_len), relative = relative_rows(m);
    int h = m->config.widths[i], o = m->config.widths[i + 1];
    t->x = arena_mat(a, m->type, relative + rows, h);
    t->premix = arena_mat(a, m->type, rows, h);
    t->qkv = arena_mat(a, m->type, relative + rows, 3 * h);
    t->context = arena_mat(a, m->type, rows, h);
    t->sum1 = arena_mat(a, m->type, rows, h);
    t->attended = arena_mat(a, m->type, rows, h);
    t->z = arena_mat(a, m->type, rows, h);
    t->u = arena_mat(a, m->type, rows, h);
    t->sum2 = arena_mat(a, m->type, rows, o);
    size_t row_floats = (size_t)rows * sizeof(float);
    t->row_max = arena_take(a, row_floats * (size_t)m->config.heads);
    t->row_sum = arena_take(a, row_floats * (size_t)m->config.heads);
    t->rel_mean = arena_take(a, (size_t)relative * sizeof(float));
    t->rel_rstd = arena_take(a, (size_t)relative * sizeof(float));
    t->mean1 = arena_take(a, row_floats);
    t->rstd1 = arena_take(a, row_floats);
    t->mean2 = arena_take(a, row_floats);
    t->rstd2 = arena_take(a, row_floats);
}

static struct mat first_rows(struct mat m, int rows)
{
    return mat_part(m, 0, rows, 0, m.columns);
}

// query, key and value projections as one weight.
static struct mat qkv_weight(const struct model *m, const struct encoder_tensors *t)
{
    struct mat w = model_weight(m, t->query_weight);
    w.rows *= 3;
    return w;
}

struct encoder_dropouts {
    struct dropout relative, attention, attended, output;
};

static struct encoder_dropouts encoder_dropouts(const struct model *m, const struct forward_mode *mode, int i)
{
    float p = m->config.dropout_encoders[i];
    return (struct encoder_dropouts){
        layer_dropout(m, mode, p, DROPOUT_RELATIVE + 4 * i), layer_dropout(m, mode, p, DROPOUT_ATTENTION + 4 * i),
        layer_dropout(m, mode, p, DROPOUT_ATTENDED + 4 * i), layer_dropout(m, mode, p, DROPOUT_OUTPUT + 4 * i)};
}

static void linear(const struct model *m, struct stream *s, const struct forward_mode *mode, struct mat x,
                   struct mat weight, int bias, struct mat y)
{
    queue(s, linear_forward, .x = x, .weight = weight, .y = y, .bias = model_weight(m, bias).data,
          .constant = mode->constant_weights);
}

void encoder_forward(const struct model *m, struct workspace *w, struct stream *s, const struct view *v,
                     const struct forward_mode *mode, int i, struct mat y)
{
    const struct encoder_tensors *t = &m->layout.encoder[i];
    struct encoder_space *e = &w->encoder[i];
    struct encoder_dropouts drop = encoder_dropouts(m, mode, i);
    const struct rows *rows = &v->rows[i];
    int n = rows->count, relative = relative_rows(m), h = m->config.widths[i];
    struct mat x = mat_part(e->x, relative, n, 0, h);
    struct mat sum1 = first_rows(e->sum1, n), attended = first_rows(e->attended, n), z = first_rows(e->z, n);
    struct mat u = first_rows(e->u, n), sum2 = first_rows(e->sum2, n), context = first_rows(e->context, n);

    queue(s, layernorm_forward, .x = model_weight(m, t->rel), .y = first_rows(e->x, relative),
          .weight = model_parameter(m, t->rel_norm_weight), .bias = model_parameter(m, t->rel_norm_bias),
          .eps = encoder_eps, .mean = e->rel_mean, .rstd = e->rel_rstd, .dropout_out = drop.relative);
    linear(m, s, mode, first_rows(e->x, relative + n), qkv_weight(m, t), t->query_bias,
           first_rows(e->qkv, relative + n));
    queue(s, attention_forward, .rows = *rows, .heads = m->config.heads, .qkv = mat_part(e->qkv, relative, n, 0, 3 * h),
          .rel = first_rows(e->qkv, relative), .slot = m->slot, .context = context,
          .row_max = w->keep ? e->row_max : NULL, .row_sum = w->keep ? e->row_sum : NULL, .dropout = drop.attention);
    linear(m, s, mode, context, model_weight(m, t->attention_weight), t->attention_bias, sum1);
    queue(s, layernorm_forward, .x = sum1, .residual = x, .sum = w->keep ? sum1 : (struct mat){0}, .y = attended,
          .weight = model_parameter(m, t->attention_norm_weight), .bias = model_parameter(m, t->attention_norm_bias),
          .eps = encoder_eps, .mean = e->mean1, .rstd = e->rstd1, .dropout_in = drop.attended, .id = rows->id);
    linear(m, s, mode, attended, model_weight(m, t->intermediate_weight), t->intermediate_bias, z);
    queue(s, mish_forward, .z = z, .residual = attended, .y = u);
    linear(m, s, mode, u, model_weight(m, t->output_weight), t->output_bias, sum2);
    queue(s, layernorm_forward, .x = sum2, .sum = w->keep ? sum2 : (struct mat){0}, .y = y,
          .weight = model_parameter(m, t->output_norm_weight), .bias = model_parameter(m, t->output_norm_bias),
          .eps = encoder_eps, .mean = e->mean2, .rstd = e->rstd2, .dropout_in = drop.output, .id = rows->id);
}

struct encoder_scratch {
    void *dx;    // [2L + rows, h]; its rows behind the relative ones are returned, so it comes first and stays
    void *dqkv;  // [2L + rows, 3h]
    void *a, *b; // [rows, max(h, o)]
};

static struct encoder_scratch encoder_scratch_take(const struct model *m, struct arena *a, int i, int rows)
{
    int h = m->config.widths[i], o = m->config.widths[i + 1], relative = relative_rows(m);
    struct encoder_scratch t;
    t.dx = arena_mat(a, m->type, relative + rows, h).data;
    t.dqkv = arena_mat(a, m->type, relative + rows, 3 * h).data;
    t.a = arena_mat(a, m->type, rows, h > o ? h : o).data;
    t.b = arena_mat(a, m->type, rows, h > o ? h : o).data;
    return t;
}

void encoder_backward_plan(const struct model *m, struct arena *a, int i, int clips)
{
    encoder_scratch_take(m, a, i, view_rows_max(clips, m->config.max_len));
}

static void weight_gradient(const struct model *m, struct stream *s, struct mat dy, struct mat x, int weight, int bias,
                            float *gradient)
{
    queue(s, linear_backward_weight, .dy = dy, .x = x, .dweight = gradient + m->layout.parameters[weight].offset,
          .dbias = gradient + m->layout.parameters[bias].offset);
}

// dy -> gradient of `attended` (feed-forward half), written to `dattended`.
static void feed_forward_backward(const struct model *m, struct encoder_space *e, struct stream *s,
                                  const struct encoder_tensors *t, const struct rows *rows, struct dropout drop,
                                  struct mat dy, struct mat dattended, const struct encoder_scratch *scratch,
                                  float *gradient)
{
    int n = rows->count, h = dattended.columns;
    struct mat dsum = mat_at(scratch->a, m->type, n, dy.columns);
    queue(s, layernorm_backward, .dy = dy, .sum = first_rows(e->sum2, n), .dx = dsum,
          .weight = model_parameter(m, t->output_norm_weight), .mean = e->mean2, .rstd = e->rstd2,
          .dweight = gradient + m->layout.parameters[t->output_norm_weight].offset,
          .dbias = gradient + m->layout.parameters[t->output_norm_bias].offset, .dropout_in = drop, .id = rows->id);
    weight_gradient(m, s, dsum, first_rows(e->u, n), t->output_weight, t->output_bias, gradient);
    queue(s, linear_backward_input, .dy = dsum, .weight = model_weight(m, t->output_weight), .dx = dattended);
    struct mat dz = mat_at(scratch->a, m->type, n, h);
    queue(s, mish_backward, .z = first_rows(e->z, n), .dy = dattended, .dz = dz);
    weight_gradient(m, s, dz, first_rows(e->attended, n), t->intermediate_weight, t->intermediate_bias, gradient);
    queue(s, linear_backward_input, .dy = dz, .weight = model_weight(m, t->intermediate_weight), .dx = dattended,
          .accumulate = 1);
}

struct mat encoder_backward(const struct model *m, struct workspace *w, struct arena *a, struct stream *s,
                            const struct view *v, const struct forward_mode *mode, int i, struct mat dy,
                            float *gradient, const struct gradient_watch *watch)
{
    const struct encoder_tensors *t = &m->layout.encoder[i];
    struct encoder_space *e = &w->encoder[i];
    struct encoder_dropouts drop = encoder_dropouts(m, mode, i);
    const struct rows *rows = &v->rows[i];
    int n = rows->count, relative = relative_rows(m), h = m->config.widths[i];
    struct encoder_scratch scratch = encoder_scratch_take(m, a, i, n);
    struct mat dattended = mat_at(scratch.b, m->type, n, h);
    feed_forward_backward(m, e, s, t, rows, drop.output, dy, dattended, &scratch, gradient);

    // The gradient of sum1 is also that of the input through the skip: it is written to its place in dx, and what
    // comes through the projections is added there.
    struct mat dx = mat_at(scratch.dx, m->type, relative + n, h), dinput = mat_part(dx, relative, n, 0, h);
    struct mat ddense = mat_at(scratch.a, m->type, n, h), dcontext = dattended;
    queue(s, layernorm_backward, .dy = dattended, .sum = first_rows(e->sum1, n), .dsum = dinput, .dx = ddense,
          .weight = model_parameter(m, t->attention_norm_weight), .mean = e->mean1, .rstd = e->rstd1,
          .dweight = gradient + m->layout.parameters[t->attention_norm_weight].offset,
          .dbias = gradient + m->layout.parameters[t->attention_norm_bias].offset, .dropout_in = drop.attended,
          .id = rows->id);
    weight_gradient(m, s, ddense, first_rows(e->context, n), t->attention_weight, t->attention_bias, gradient);
    queue(s, linear_backward_input, .dy = ddense, .weight = model_weight(m, t->attention_weight), .dx = dcontext);

    struct mat dqkv = mat_at(scratch.dqkv, m->type, relative + n, 3 * h);
    queue(s, attention_backward, .rows = *rows, .heads = m->config.heads,
          .qkv = mat_part(e->qkv, relative, n, 0, 3 * h), .rel = first_rows(e->qkv, relative), .slot = m->slot,
          .dcontext = dcontext, .dqkv = mat_part(dqkv, relative, n, 0, 3 * h), .drel = first_rows(dqkv, relative),
          .row_max = e->row_max, .row_sum = e->row_sum, .dropout = drop.attention);
    weight_gradient(m, s, dqkv, first_rows(e->x, relative + n), t->query_weight, t->query_bias, gradient);
    s->op->zero(s, dx.data, (size_t)relative * (size_t)h * dtype_size(m->type));
    queue(s, linear_backward_input, .dy = dqkv, .weight = qkv_weight(m, t), .dx = dx, .accumulate = 1);
    struct mat drel = mat_at(gradient + m->layout.parameters[t->rel].offset, DTYPE_F32, relative, h);
    queue(s, layernorm_backward, .dy = first_rows(dx, relative), .sum = model_weight(m, t->rel), .dsum = drel,
          .weight = model_parameter(m, t->rel_norm_weight), .mean = e->rel_mean, .rstd = e->rel_rstd,
          .dweight = gradient + m->layout.parameters[t->rel_norm_weight].offset,
          .dbias = gradient + m->layout.parameters[t->rel_norm_bias].offset, .dropout_out = drop.relative);
    gradients_ready(watch, m, t->rel);
    return dinput;
}
