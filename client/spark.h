// A curve in one line of a few characters, of however many values.
#ifndef ISLR_CLIENT_SPARK_H
#define ISLR_CLIENT_SPARK_H

enum { SPARK_WIDTH = 16, SPARK_SIZE = SPARK_WIDTH * 3 + 1 };

// Zero-initialise. Every column is the mean of as many values.
struct spark {
    double columns[SPARK_WIDTH];
    int count;
    double sum; // of the column that is being filled
    unsigned filled, each;
};
void spark_add(struct spark *s, double value); // what is not finite is left out

// "▇▅▃▂▁" from the lowest to the highest value; "" where there are none. In ASCII where the environment's character set
// is not UTF-8.
const char *spark_text(const struct spark *s, char text[SPARK_SIZE]);

#endif
