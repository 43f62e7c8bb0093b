/* Sends a control to a service, which Wine's sc.exe cannot: control.exe SERVICE NUMBER. */
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

int main(int count, char **words)
{
    SERVICE_STATUS status;
    SC_HANDLE manager = OpenSCManagerA(NULL, NULL, SC_MANAGER_CONNECT);
    SC_HANDLE service = count == 3 ? OpenServiceA(manager, words[1], SERVICE_ALL_ACCESS) : NULL;
    if (!service || !ControlService(service, atoi(words[2]), &status)) {
        fprintf(stderr, "control: error %lu\n", GetLastError());
        return 1;
    }
    return 0;
}
