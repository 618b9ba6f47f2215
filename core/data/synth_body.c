// The figure of synthetic recordings: see synth_body.h. The landmarks' meaning and order are MediaPipe Holistic's (face
// mesh, hands, pose); proportions are rough averages of adults.
#include "core/data/synth_body.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

struct rotation {
    double m[3][3];
};

// About y, then x, then z.
static struct rotation make_rotation(double y, double x, double z)
{
    double cy = cos(y), sy = sin(y), cx = cos(x), sx = sin(x), cz = cos(z), sz = sin(z);
    return (struct rotation){{{cz * cy + sz * sx * sy, -sz * cx, cz * sy - sz * sx * cy},
                              {sz * cy - cz * sx * sy, cz * cx, sz * sy + cz * sx * cy},
                              {-cx * sy, sx, cx * cy}}};
}

static void rotate(double v[3], const struct rotation *r)
{
    double x = v[0], y = v[1], z = v[2];
    for (int i = 0; i < 3; i++)
        v[i] = r->m[i][0] * x + r->m[i][1] * y + r->m[i][2] * z;
}

// ---- hands ----------------------------------------------------------------------------------------------------------

// Lengths in palm lengths; hand coordinates: fingers towards -y, palm towards -z, thumb towards -u.
static const struct {
    double base[2], bones[3], splay; // splay: how far the finger leaves the hand's axis, in units of `spread`
} fingers[5] = {{{-0.30, -0.25}, {0.40, 0.33, 0.28}, 0},
                {{-0.35, -0.95}, {0.45, 0.28, 0.22}, -1.0},
                {{-0.10, -1.00}, {0.50, 0.32, 0.24}, -0.2},
                {{0.13, -0.93}, {0.46, 0.30, 0.22}, 0.5},
                {{0.35, -0.80}, {0.36, 0.22, 0.19}, 1.3}};
static const double PALM = 0.22; // shoulder widths

static void bone_direction(int finger, int bone, const struct synth_hand *h, double d[3])
{
    double curl = h->curl[finger];
    if (finger == 0) { // the thumb goes from beside the palm to across it
        double t = curl * (0.6 + 0.2 * bone);
        d[0] = -0.75 + 1.35 * t - 0.4 * h->spread * (1 - t);
        d[1] = -0.65 + 0.15 * t;
        d[2] = -0.10 - 0.65 * t;
        double norm = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
        for (int i = 0; i < 3; i++)
            d[i] /= norm;
        return;
    }
    static const double bends[3] = {1.35, 1.75, 1.1}; // of the joints in a closed fist, radians
    double bend = 0, splay = fingers[finger].splay * h->spread * (1 - 0.7 * curl);
    for (int i = 0; i <= bone; i++)
        bend += bends[i] * curl;
    d[0] = sin(splay) * cos(bend);
    d[1] = -cos(splay) * cos(bend);
    d[2] = -sin(bend);
}

// The 21 points of a hand in its lateral coordinates.
static void place_hand(const struct synth_hand *h, double size, double out[HAND_LANDMARKS][3])
{
    memset(out, 0, HAND_LANDMARKS * sizeof *out);
    for (int f = 0; f < 5; f++) {
        int base = 1 + 4 * f;
        out[base][0] = fingers[f].base[0];
        out[base][1] = fingers[f].base[1];
        for (int bone = 0; bone < 3; bone++) {
            double d[3];
            bone_direction(f, bone, h, d);
            for (int i = 0; i < 3; i++)
                out[base + bone + 1][i] = out[base + bone][i] + fingers[f].bones[bone] * d[i];
        }
    }
    struct rotation roll = make_rotation(h->orientation[2], 0, 0);
    struct rotation aim = make_rotation(0, h->orientation[1], h->orientation[0]);
    for (int i = 0; i < HAND_LANDMARKS; i++) {
        rotate(out[i], &roll);
        rotate(out[i], &aim);
        for (int axis = 0; axis < 3; axis++)
            out[i][axis] = h->wrist[axis] + PALM * size * out[i][axis];
    }
}

// ---- face -----------------------------------------------------------------------------------------------------------

// Curves of the face mesh, each from the signer's right to left (left to right in the picture).
static const int16_t oval[] = {10,  338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288,
                               397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136,
                               172, 58,  132, 93,  234, 127, 162, 21,  54,  103, 67,  109};
static const int16_t lip_curves[4][11] = {{61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291},
                                          {61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291},
                                          {78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308},
                                          {78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308}};
static const int16_t eye_curves[4][9] = {{33, 246, 161, 160, 159, 158, 157, 173, 133},
                                         {33, 7, 163, 144, 145, 153, 154, 155, 133},
                                         {362, 398, 384, 385, 386, 387, 388, 466, 263},
                                         {362, 382, 381, 380, 374, 373, 390, 249, 263}};
static const int16_t brow_curves[4][5] = {
    {70, 63, 105, 66, 107}, {46, 53, 52, 65, 55}, {336, 296, 334, 293, 300}, {285, 295, 282, 283, 276}};
static const int16_t nose_line[] = {168, 6, 197, 195, 5, 4, 1, 19, 94, 2};
static const struct {
    int16_t point;
    double at[3];
} single_points[] = {{98, {-0.17, 0.27, -0.42}}, {327, {0.17, 0.27, -0.42}}, {205, {-0.40, 0.32, -0.28}},
                     {425, {0.40, 0.32, -0.28}}, {156, {-0.60, -0.27, 0.0}}, {383, {0.60, -0.27, 0.0}}};

static void set_point(double face[][3], int point, double x, double y, double z)
{
    face[point][0] = x;
    face[point][1] = y;
    face[point][2] = z;
}

// Lengths in half heights of the face; origin between the eyes' height and the nose's tip, z 0 at the temples.
static void place_features(const struct synth_face *f, double face[RAW_FACE_COUNT][3])
{
    for (size_t i = 0; i < COUNT(oval); i++) {
        double angle = 2 * M_PI * (double)i / COUNT(oval);
        double chin = angle > M_PI_2 && angle < 3 * M_PI_2 ? 0.25 * f->mouth_open * -cos(angle) : 0;
        set_point(face, oval[i], 0.72 * sin(angle), 0.05 - cos(angle) + chin, 0.12 * cos(2 * angle));
    }
    for (int c = 0; c < 4; c++)
        for (int i = 0; i < 11; i++) {
            double s = i / 5.0 - 1, bow = 1 - s * s, inner = c < 2 ? 1 : 0.82;
            double half = (c % 2 ? 0.5 : -0.35) * f->mouth_open + (c < 2 ? c % 2 ? 0.11 : -0.09 : c % 2 ? 0.02 : -0.02);
            set_point(face, lip_curves[c][i], (0.27 + 0.08 * f->smile) * inner * s,
                      0.52 + bow * half - 0.08 * f->smile * (1 - bow),
                      -0.40 + 0.14 * s * s - 0.08 * (f->smile < 0) * bow);
        }
    for (int c = 0; c < 4; c++)
        for (int i = 0; i < 9; i++) {
            double s = i / 4.0 - 1, lid = (c % 2 ? 0.06 : -0.09 * f->eyes) * (1 - s * s);
            set_point(face, eye_curves[c][i], (c < 2 ? -0.34 : 0.34) + 0.15 * s, -0.12 + lid, -0.22);
        }
    for (int c = 0; c < 4; c++)
        for (int i = 0; i < 5; i++) {
            double s = i / 2.0 - 1;
            set_point(face, brow_curves[c][i], (c < 2 ? -0.36 : 0.36) + 0.22 * s,
                      -0.36 + (c % 2 ? 0.06 : 0) + 0.05 * s * s - 0.09 * f->brows, -0.28);
        }
    for (size_t i = 0; i < COUNT(nose_line); i++) {
        double t = (double)i / (COUNT(nose_line) - 1);
        set_point(face, nose_line[i], 0, -0.14 + 0.46 * t, -0.30 - 0.32 * sin(M_PI * pow(t, 1.6)));
    }
    for (size_t i = 0; i < COUNT(single_points); i++)
        memcpy(face[single_points[i].point], single_points[i].at, sizeof *face);
}

// All 468 points: the features, and the others spread evenly over an ellipsoid.
static void place_face(const struct synth_face *f, const struct synth_build *b, double out[RAW_FACE_COUNT][3])
{
    const double golden = 2.399963229728653, c = cos(golden), s = sin(golden);
    double x = 1, y = 0; // of the unit circle, the golden angle further each time
    for (int i = 0; i < RAW_FACE_COUNT; i++) {
        double square = (i + 0.5) / RAW_FACE_COUNT, r = sqrt(square), next = c * x - s * y;
        set_point(out, i, 0.68 * r * x, 0.05 + 0.95 * r * y, -0.38 * sqrt(1 - square));
        y = s * x + c * y;
        x = next;
    }
    place_features(f, out);
    struct rotation turn = make_rotation(f->turn[0], f->turn[1], f->turn[2]);
    static const double centre[3] = {0, -0.70, -0.05};
    const double size = 0.42 * b->head;
    for (int i = 0; i < RAW_FACE_COUNT; i++) {
        out[i][0] *= b->face_width;
        rotate(out[i], &turn);
        for (int axis = 0; axis < 3; axis++)
            out[i][axis] = centre[axis] * b->head + size * out[i][axis];
    }
}

// ---- pose -----------------------------------------------------------------------------------------------------------

// An elbow for a shoulder and a wrist: two bones, bent downwards and outwards (`side`: the sign of x there). A wrist
// out of reach stretches the arm.
static void place_elbow(const double shoulder[3], const double wrist[3], double side, double arm, double out[3])
{
    const double upper = 0.78 * arm, lower = 0.72 * arm;
    double d[3], length = 1e-9;
    for (int i = 0; i < 3; i++) {
        d[i] = wrist[i] - shoulder[i];
        length += d[i] * d[i];
    }
    length = sqrt(length);
    double reach = fmin(length, 0.999 * (upper + lower));
    double along = (upper * upper - lower * lower + reach * reach) / (2 * reach);
    double height = sqrt(fmax(0, upper * upper - along * along));
    double bend[3] = {0.55 * side, 0.8, 0.15}, dot = 0, norm = 1e-9;
    for (int i = 0; i < 3; i++)
        dot += bend[i] * d[i] / length;
    for (int i = 0; i < 3; i++) {
        bend[i] -= dot * d[i] / length;
        norm += bend[i] * bend[i];
    }
    for (int i = 0; i < 3; i++)
        out[i] = shoulder[i] + d[i] / length * along * (length / reach) + bend[i] / sqrt(norm) * height;
}

// The 33 points of the pose, from the face's and the hands' where they share them.
static void place_pose(const struct synth_posture *p, const struct synth_build *b, double face[RAW_FACE_COUNT][3],
                       double hands[2][HAND_LANDMARKS][3], double out[RAW_POSE_COUNT][3])
{
    static const int16_t from_face[11] = {1, 362, 386, 263, 133, 159, 33, 454, 234, 291, 61}; // nose .. mouth
    for (int i = 0; i < 11; i++)
        memcpy(out[i], face[from_face[i]], sizeof *out);
    for (int side = LEFT; side <= RIGHT; side++) {
        double x = side == LEFT ? 1 : -1;
        static const int16_t from_hand[4] = {0, 17, 5, 4}; // wrist, little finger, index, thumb: pose 15, 17, 19, 21
        for (int i = 0; i < 4; i++)
            memcpy(out[15 + 2 * i + side], hands[side][from_hand[i]], sizeof *out);
        set_point(out, 11 + side, 0.5 * x, 0, 0);
        place_elbow(out[11 + side], out[15 + side], x, b->arm, out[13 + side]);
        set_point(out, 23 + side, 0.31 * x - p->lean[0], 1.35 * b->trunk - p->lean[1], 0.02);
        set_point(out, 25 + side, 0.30 * x - p->lean[0], 2.45 * b->trunk, -0.05);
        set_point(out, 27 + side, 0.28 * x - p->lean[0], 3.50 * b->trunk, 0.10);
        set_point(out, 29 + side, 0.28 * x - p->lean[0], 3.60 * b->trunk, 0.15);
        set_point(out, 31 + side, 0.31 * x - p->lean[0], 3.65 * b->trunk, -0.15);
    }
}

// ---- camera ---------------------------------------------------------------------------------------------------------

static void project(double points[][3], int count, const struct synth_camera *c, double reference_z, double *out)
{
    for (int i = 0; i < count; i++) {
        const double *p = points[i];
        double near = 1 / (1 + 0.12 * p[2]); // a little perspective
        out[3 * i] = c->x + c->scale * p[0] * near;
        out[3 * i + 1] = c->y + c->scale * c->aspect * p[1] * near;
        out[3 * i + 2] = c->scale * (p[2] - reference_z);
    }
}

void synth_body_project(const struct synth_posture *p, const struct synth_build *b, const struct synth_camera *c,
                        double *out)
{
    double face[RAW_FACE_COUNT][3], hands[2][HAND_LANDMARKS][3], pose[RAW_POSE_COUNT][3];
    place_face(&p->face, b, face);
    for (int side = LEFT; side <= RIGHT; side++) {
        place_hand(&p->hands[side], b->hand, hands[side]);
        for (int i = 0; side == RIGHT && i < HAND_LANDMARKS; i++)
            hands[side][i][0] = -hands[side][i][0];
    }
    place_pose(p, b, face, hands, pose);
    struct {
        double (*points)[3];
        int count, at;
    } parts[] = {{face, RAW_FACE_COUNT, RAW_FACE},
                 {hands[LEFT], HAND_LANDMARKS, RAW_LEFT_HAND},
                 {pose, RAW_POSE_COUNT, RAW_POSE},
                 {hands[RIGHT], HAND_LANDMARKS, RAW_RIGHT_HAND}};
    struct rotation turn = make_rotation(c->turn[0], c->turn[1], c->turn[2]);
    for (size_t k = 0; k < COUNT(parts); k++)
        for (int i = 0; i < parts[k].count; i++) {
            parts[k].points[i][0] += p->lean[0];
            parts[k].points[i][1] += p->lean[1];
            rotate(parts[k].points[i], &turn);
        }
    const double references[] = {face[168][2], hands[LEFT][0][2], (pose[23][2] + pose[24][2]) / 2, hands[RIGHT][0][2]};
    for (size_t k = 0; k < COUNT(parts); k++)
        project(parts[k].points, parts[k].count, c, references[k], out + 3 * parts[k].at);
}
