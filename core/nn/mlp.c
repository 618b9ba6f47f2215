// From landmarks to one row a frame: embedding stage, the five part MLPs, their combination and the landmark MLP.
#include "core/nn/layers.h"

static const int part_points[PARTS] = {[PART_LEFT] = HAND_POINTS,
                                       [PART_RIGHT] = HAND_POINTS,
                                       [PART_LIPS] = LIPS_POINTS,
                                       [PART_FACE] = FACE_POINTS,
                                       [PART_FULL] = LANDMARKS};

// Where a part's output stands in the concatenation full | hands | lips | face; the hands have buffers of their own.
static const int part_column[PARTS] = {
    [PART_LEFT] = -1, [PART_RIGHT] = -1, [PART_FULL] = 0, [PART_LIPS] = 2, [PART_FACE] = 3};
enum { HANDS_COLUMN = 1, CONCAT_PARTS = 4 };

static const float batchnorm_momentum = 0.1f, batchnorm_eps = 1e-5f;

static void mlp_space_plan(struct mlp_space *p, struct arena *a, int clips, int columns)
{
    // As many groups as clips: how clips are grouped is known at the call only.
    p->mean = arena_take(a, (size_t)clips * (size_t)columns * sizeof(float));
    p->rstd = arena_take(a, (size_t)clips * (size_t)columns * sizeof(float));
}

void mlp_plan(struct workspace *w, const struct model *m, struct arena *a, int clips)
{
    int rows = clips * m->config.max_len, d = m->config.dense_dim;
    w->collapsed = arena_take(a, EMBED_COLLAPSED_SIZE * sizeof(float));
    w->concat = arena_mat(a, m->type, rows, CONCAT_PARTS * d);
    for (int p = 0; p < PARTS; p++) {
        struct mlp_space *space = &w->part[p];
        space->x = arena_mat(a, m->type, rows, part_points[p] * EMBED_DIM);
        space->z = arena_mat(a, m->type, rows, d);
        space->y =
            part_column[p] < 0 ? arena_mat(a, m->type, rows, d) : mat_part(w->concat, 0, rows, part_column[p] * d, d);
        mlp_space_plan(space, a, clips, d);
    }
    w->landmark.x = w->concat;
    w->landmark.z = arena_mat(a, m->type, rows, m->config.widths[0]);
    w->landmark.y = arena_mat(a, m->type, rows, m->config.widths[0]);
    mlp_space_plan(&w->landmark, a, clips, m->config.widths[0]);
}

static struct mat rows_of(struct mat m, int rows)
{
    m.rows = rows;
    return m;
}

static struct embed_parameters embed_parameters(const struct model *m, float *flat)
{
    const struct layout *l = &m->layout;
#define AT(tensor) (flat + l->parameters[l->tensor].offset)
    return (struct embed_parameters){.type_embed = AT(type_embed),
                                     .type_norm_weight = AT(type_norm_weight),
                                     .type_norm_bias = AT(type_norm_bias),
                                     .landmark_embed = AT(landmark_embed),
                                     .landmark_norm_weight = AT(landmark_norm_weight),
                                     .landmark_norm_bias = AT(landmark_norm_bias),
                                     .conv0 = AT(conv0),
                                     .conv1 = AT(conv1),
                                     .pos_dense_weight = AT(pos_dense_weight),
                                     .pos_dense_bias = AT(pos_dense_bias),
                                     .dense_weight = AT(dense_weight),
                                     .dense_bias = AT(dense_bias)};
#undef AT
}

// What all BatchNorm layers of a view share.
struct norm_call {
    const struct model *model;
    const struct view *view;
    const struct forward_mode *mode;
    const struct mlp_tensors *tensors;
    struct dropout dropout;
    const int32_t *mask; // lengths, or NULL
};

static int group_rows(const struct norm_call *c)
{
    return (c->mode->train ? c->mode->group : c->view->clips) * c->view->frames;
}

static void norm_forward(const struct norm_call *c, struct stream *s, struct mlp_space *p)
{
    const struct model *m = c->model;
    int rows = c->view->clips * c->view->frames;
    queue(s, batchnorm_forward, .z = rows_of(p->z, rows), .y = rows_of(p->y, rows), .group_rows = group_rows(c),
          .running = !c->mode->train, .weight = model_parameter(m, c->tensors->norm_weight),
          .bias = model_parameter(m, c->tensors->norm_bias),
          .running_mean = m->buffers + m->layout.buffers[c->tensors->mean].offset,
          .running_var = m->buffers + m->layout.buffers[c->tensors->var].offset, .momentum = batchnorm_momentum,
          .eps = batchnorm_eps, .mean = p->mean, .rstd = p->rstd, .dropout = c->dropout, .frames = c->view->frames,
          .first_row_id = c->view->first_clip * (uint32_t)c->view->frames, .length = c->mask);
}

static void norm_backward(const struct norm_call *c, struct stream *s, const struct mlp_space *p, struct mat dy,
                          float *gradient)
{
    const struct model *m = c->model;
    queue(s, batchnorm_backward, .z = rows_of(p->z, dy.rows), .dy = dy, .dz = dy, .group_rows = group_rows(c),
          .running = !c->mode->train, .weight = model_parameter(m, c->tensors->norm_weight),
          .bias = model_parameter(m, c->tensors->norm_bias), .mean = p->mean, .rstd = p->rstd,
          .dweight = gradient + m->layout.parameters[c->tensors->norm_weight].offset,
          .dbias = gradient + m->layout.parameters[c->tensors->norm_bias].offset, .dropout = c->dropout,
          .frames = c->view->frames, .first_row_id = c->view->first_clip * (uint32_t)c->view->frames,
          .length = c->mask);
}

static struct norm_call part_norm(const struct model *m, const struct view *v, const struct forward_mode *mode,
                                  int part)
{
    return (struct norm_call){
        m, v, mode, &m->layout.part[part], layer_dropout(m, mode, m->config.dropout_mlp, DROPOUT_PART + part), NULL};
}

static struct norm_call landmark_norm(const struct model *m, const struct view *v, const struct forward_mode *mode)
{
    return (struct norm_call){
        m,        v, mode, &m->layout.landmark, layer_dropout(m, mode, m->config.dropout_landmark, DROPOUT_LANDMARK),
        v->length};
}

static void mlp_linear_forward(const struct model *m, struct stream *s, const struct forward_mode *mode,
                               const struct mlp_tensors *t, struct mlp_space *p, int rows)
{
    queue(s, linear_forward, .x = rows_of(p->x, rows), .weight = model_weight(m, t->weight), .y = rows_of(p->z, rows),
          .bias = model_weight(m, t->bias).data, .constant = mode->constant_weights);
}

static void mlp_linear_backward(const struct model *m, struct stream *s, const struct mlp_tensors *t, struct mat x,
                                struct mat dz, struct mat dx, float *gradient)
{
    queue(s, linear_backward_weight, .dy = dz, .x = x, .dweight = gradient + m->layout.parameters[t->weight].offset,
          .dbias = gradient + m->layout.parameters[t->bias].offset);
    queue(s, linear_backward_input, .dy = dz, .weight = model_weight(m, t->weight), .dx = dx);
}

void mlp_forward(const struct model *m, struct workspace *w, struct stream *s, const struct view *v,
                 const struct forward_mode *mode, struct mat out)
{
    int rows = v->clips * v->frames, d = m->config.dense_dim;
    queue(s, embed_forward, .parameters = embed_parameters(m, m->weight), .x = v->x, .length = v->length,
          .clips = v->clips, .frames = v->frames, .collapsed = w->collapsed,
          .full = rows_of(w->part[PART_FULL].x, rows), .left = rows_of(w->part[PART_LEFT].x, rows),
          .right = rows_of(w->part[PART_RIGHT].x, rows), .lips = rows_of(w->part[PART_LIPS].x, rows),
          .face = rows_of(w->part[PART_FACE].x, rows));
    for (int p = 0; p < PARTS; p++) {
        struct norm_call norm = part_norm(m, v, mode, p);
        mlp_linear_forward(m, s, mode, &m->layout.part[p], &w->part[p], rows);
        norm_forward(&norm, s, &w->part[p]);
    }
    queue(s, maximum_forward, .a = rows_of(w->part[PART_LEFT].y, rows), .b = rows_of(w->part[PART_RIGHT].y, rows),
          .y = mat_part(w->concat, 0, rows, HANDS_COLUMN * d, d));
    struct norm_call norm = landmark_norm(m, v, mode);
    mlp_linear_forward(m, s, mode, &m->layout.landmark, &w->landmark, rows);
    norm_forward(&norm, s, &w->landmark);
    queue(s, pack_rows, .rows = v->rows[0], .padded = rows_of(w->landmark.y, rows), .packed = out);
}

struct mlp_scratch {
    struct mat dlandmark, dconcat, dhand[2], dx[PARTS];
};

static struct mlp_scratch mlp_scratch_take(const struct model *m, struct arena *a, int clips)
{
    int rows = clips * m->config.max_len, d = m->config.dense_dim;
    struct mlp_scratch t;
    t.dlandmark = arena_mat(a, m->type, rows, m->config.widths[0]);
    t.dconcat = arena_mat(a, m->type, rows, CONCAT_PARTS * d);
    t.dhand[0] = arena_mat(a, m->type, rows, d);
    t.dhand[1] = arena_mat(a, m->type, rows, d);
    for (int p = 0; p < PARTS; p++)
        t.dx[p] = arena_mat(a, m->type, rows, part_points[p] * EMBED_DIM);
    return t;
}

void mlp_backward_plan(const struct model *m, struct arena *a, int clips)
{
    mlp_scratch_take(m, a, clips);
}

void mlp_backward(const struct model *m, struct workspace *w, struct arena *a, struct stream *s, const struct view *v,
                  const struct forward_mode *mode, struct mat dout, float *gradient, const struct gradient_watch *watch)
{
    int rows = v->clips * v->frames, d = m->config.dense_dim;
    struct mlp_scratch t = mlp_scratch_take(m, a, v->clips);
    queue(s, unpack_rows, .rows = v->rows[0], .packed = dout, .padded = t.dlandmark);
    struct norm_call norm = landmark_norm(m, v, mode);
    norm_backward(&norm, s, &w->landmark, t.dlandmark, gradient);
    mlp_linear_backward(m, s, &m->layout.landmark, rows_of(w->concat, rows), t.dlandmark, t.dconcat, gradient);
    gradients_ready(watch, m, m->layout.landmark.weight);

    queue(s, maximum_backward, .a = rows_of(w->part[PART_LEFT].y, rows), .b = rows_of(w->part[PART_RIGHT].y, rows),
          .dy = mat_part(t.dconcat, 0, rows, HANDS_COLUMN * d, d), .da = t.dhand[0], .db = t.dhand[1]);
    for (int p = PARTS - 1; p >= 0; p--) {
        struct mat dy =
            part_column[p] < 0 ? t.dhand[p == PART_RIGHT] : mat_part(t.dconcat, 0, rows, part_column[p] * d, d);
        norm = part_norm(m, v, mode, p);
        norm_backward(&norm, s, &w->part[p], dy, gradient);
        mlp_linear_backward(m, s, &m->layout.part[p], rows_of(w->part[p].x, rows), dy, t.dx[p], gradient);
        gradients_ready(watch, m, m->layout.part[p].weight);
    }
    queue(s, embed_backward, .parameters = embed_parameters(m, m->weight), .gradients = embed_parameters(m, gradient),
          .x = v->x, .length = v->length, .clips = v->clips, .frames = v->frames, .collapsed = w->collapsed,
          .dfull = t.dx[PART_FULL], .dleft = t.dx[PART_LEFT], .dright = t.dx[PART_RIGHT], .dlips = t.dx[PART_LIPS],
          .dface = t.dx[PART_FACE]);
    gradients_ready(watch, m, 0);
}
