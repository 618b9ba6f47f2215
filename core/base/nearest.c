// The nearest known name: see nearest.h.
#include "core/base/nearest.h"

#include <string.h>
#include <strings.h>

enum { LONGEST = 63 };

static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : (unsigned char)c;
}

static int min3(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}

int nearest_distance(const char *a, const char *b)
{
    int n = (int)strnlen(a, LONGEST), m = (int)strnlen(b, LONGEST);
    int rows[3][LONGEST + 1]; // the last three rows of the table: row i is rows[i % 3]
    for (int j = 0; j <= m; j++)
        rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *row = rows[i % 3];
        const int *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int same = lower(a[i - 1]) == lower(b[j - 1]);
            row[j] = min3(up[j] + 1, row[j - 1] + 1, up[j - 1] + !same);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]) &&
                up2[j - 2] + 1 < row[j])
                row[j] = up2[j - 2] + 1;
        }
    }
    return rows[n % 3][m];
}

const char *nearest_name(const char *given, const char *const *names, size_t count)
{
    size_t length = strlen(given);
    int allowed = length < 3 ? 1 : length < 9 ? 2 : (int)(length / 3 < 5 ? length / 3 : 5);
    const char *best = NULL;
    int best_distance = allowed + 1;
    for (size_t i = 0; i < count; i++) {
        if (!names[i])
            continue;
        int d = nearest_distance(given, names[i]);
        if (length >= 3 && d > allowed && !strncasecmp(names[i], given, length))
            d = allowed;
        // A distance as long as the name itself has nothing in common with it.
        if (d < best_distance && d < (int)strlen(names[i])) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}
