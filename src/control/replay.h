// control/replay.h - plays an exercise: NDJSON messages with "t", seconds from the start, sent to
// the server at their time, all marked EXERCICE.
#ifndef CONTROL_REPLAY_H
#define CONTROL_REPLAY_H

#include "control/control.h"

struct replay; // opaque; owns a thread and the file's messages

// Reads all of the file first: a bad line is an error that names it. speed: 2 plays twice as fast;
// > 0. Ids get a prefix of their own so that a day may be played again.
NODISCARD bool replay_open(struct replay **out, struct control *control, const char *path,
                           double speed, struct error *err);
void replay_close(struct replay *replay); // stops where it is; before control_close(); NULL is fine

#endif
