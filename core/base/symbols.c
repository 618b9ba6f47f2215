// Names of functions: see symbols.h. The format is ELF's (elf(5)).
#include "core/base/symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/memory.h"

struct symbols {
    const char *file; // the running program's, mapped; NULL: it cannot be read
    size_t size;
    const ElfW(Sym) * table;
    size_t count;
    const char *strings;
    size_t string_size;
    uintptr_t base; // where the program was loaded
};

static int take_base(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    ((struct symbols *)context)->base = info->dlpi_addr;
    return 1; // the program itself comes first
}

static int inside(const struct symbols *s, uint64_t offset, uint64_t size)
{
    return offset <= s->size && size <= s->size - offset;
}

static void find_table(struct symbols *s)
{
    const ElfW(Ehdr) *head = (const void *)s->file;
    if (s->size < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) || head->e_shentsize != sizeof(ElfW(Shdr)) ||
        !inside(s, head->e_shoff, (uint64_t)head->e_shnum * sizeof(ElfW(Shdr))))
        return;
    const ElfW(Shdr) *section = (const void *)(s->file + head->e_shoff);
    for (int i = 0; i < head->e_shnum; i++) {
        const ElfW(Shdr) *t = &section[i];
        if (t->sh_type != SHT_SYMTAB || t->sh_link >= head->e_shnum || !inside(s, t->sh_offset, t->sh_size))
            continue;
        const ElfW(Shdr) *names = &section[t->sh_link];
        if (!names->sh_size || !inside(s, names->sh_offset, names->sh_size) ||
            s->file[names->sh_offset + names->sh_size - 1])
            return;
        s->table = (const void *)(s->file + t->sh_offset);
        s->count = t->sh_size / sizeof *s->table;
        s->strings = s->file + names->sh_offset;
        s->string_size = names->sh_size;
        return;
    }
}

struct symbols *symbols_open(void)
{
    struct symbols *s = xcalloc(1, sizeof *s);
    struct stat st;
    dl_iterate_phdr(take_base, s);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && !fstat(fd, &st) && st.st_size > 0) {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        s->file = map == MAP_FAILED ? NULL : map;
        s->size = s->file ? (size_t)st.st_size : 0;
    }
    if (fd >= 0)
        close(fd);
    if (s->file)
        find_table(s);
    return s;
}

void symbols_close(struct symbols *s)
{
    if (s->file)
        munmap((void *)s->file, s->size);
    free(s);
}

static const char *name_in_program(const struct symbols *s, uintptr_t at)
{
    for (size_t i = 0; i < s->count; i++) {
        const ElfW(Sym) *y = &s->table[i];
        if ((y->st_info & 0xf) == STT_FUNC && at >= y->st_value && at - y->st_value < y->st_size &&
            y->st_name < s->string_size)
            return s->strings + y->st_name;
    }
    return "";
}

void symbols_find(const struct symbols *s, const void *address, char name[128], char place[160])
{
    Dl_info info;
    const char *own = name_in_program(s, (uintptr_t)address - s->base), *exported = NULL, *object = "?";
    uintptr_t offset = (uintptr_t)address;
    if (dladdr(address, &info) && info.dli_fname) {
        const char *slash = strrchr(info.dli_fname, '/');
        object = slash ? slash + 1 : info.dli_fname;
        offset -= *own ? s->base : (uintptr_t)info.dli_fbase;
        exported = info.dli_sname;
    }
    snprintf(name, 128, "%s", *own || !exported ? own : exported);
    snprintf(place, 160, "%.120s+0x%lx", object, (unsigned long)offset);
}
