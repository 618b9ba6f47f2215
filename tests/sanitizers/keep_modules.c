// Preloaded into MPI programs under LeakSanitizer: keeps Open MPI's plug-ins loaded. MPI_Finalize unloads them, and what
// they leaked could then no longer be attributed to them (nor be suppressed by name).
int dlclose(void *handle);

int dlclose(void *handle)
{
    (void)handle;
    return 0;
}
