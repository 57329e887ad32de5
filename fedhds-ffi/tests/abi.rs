//! The C functions as C calls them: pointers, handles, statuses. Small enough for Miri:
//! `cargo +nightly miri test -p fedhds-ffi --no-default-features --test abi`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fedhds::fedhds_status_t::*;
use fedhds::*;
use std::ffi::{CStr, CString, c_void};
use std::ptr::{null, null_mut};

fn message() -> String {
    // SAFETY: never NULL, ends with NUL.
    unsafe { CStr::from_ptr(fedhds_last_error_message()) }.to_str().unwrap().to_owned()
}

fn method(settings: &str) -> *mut fedhds_method_t {
    let settings = CString::new(settings).unwrap();
    let mut method = null_mut();
    // SAFETY: a text that ends with NUL, a place for the result.
    assert_eq!(unsafe { fedhds_method_new(settings.as_ptr(), &mut method) }, FEDHDS_STATUS_OK, "{}", message());
    method
}

fn taken(bytes: *mut fedhds_bytes_t) -> Vec<u8> {
    let mut length = 0;
    // SAFETY: NULL asks for the length; then the buffer has it.
    unsafe {
        assert_eq!(fedhds_bytes_copy(bytes, null_mut(), 0, &mut length), FEDHDS_STATUS_OK);
        let mut values = vec![0; length];
        let mut small = length;
        assert_eq!(
            fedhds_bytes_copy(bytes, values.as_mut_ptr(), length - 1, &mut small),
            FEDHDS_STATUS_BUFFER_TOO_SMALL
        );
        assert_eq!(small, length);
        assert_eq!(fedhds_bytes_copy(bytes, values.as_mut_ptr(), length, &mut length), FEDHDS_STATUS_OK);
        let (mut data, mut again) = (null(), 0);
        assert_eq!(fedhds_bytes_view(bytes, &mut data, &mut again), FEDHDS_STATUS_OK);
        assert_eq!(std::slice::from_raw_parts(data, again), values);
        assert_eq!(fedhds_bytes_free(bytes), FEDHDS_STATUS_OK);
        values
    }
}

#[test]
fn versions_agree() {
    assert_eq!(fedhds_abi_version(), FEDHDS_ABI_VERSION);
    assert_eq!(fedhds_has_models(), cfg!(feature = "model"));
    // SAFETY: never NULL, end with NUL.
    let (version, name) = unsafe { (CStr::from_ptr(fedhds_version()), CStr::from_ptr(fedhds_status_name(17))) };
    assert_eq!((version.to_str(), name.to_str()), (Ok(env!("CARGO_PKG_VERSION")), Ok("FEDHDS_STATUS_CANCELLED")));
    // SAFETY: as above.
    assert_eq!(unsafe { CStr::from_ptr(fedhds_status_name(-1)) }, c"unknown");
}

#[test]
fn wrong_settings_are_named_by_their_key() {
    let mut method = null_mut();
    for (settings, key, word) in [
        ("preset = \"random\"\ncuont = \"all\"", "`cuont` (line 2, column 1)", "did you mean `count`?"),
        (
            "{\"preset\": \"fedhds\", \"client\": {\"reducer\": {\"angle\": \"x\"}}}",
            "`client.reducer.angle`",
            "a number",
        ),
        ("randon", "`preset`", "did you mean `random`?"),
    ] {
        let settings = CString::new(settings).unwrap();
        // SAFETY: a text that ends with NUL, a place for the result.
        assert_eq!(unsafe { fedhds_method_new(settings.as_ptr(), &mut method) }, FEDHDS_STATUS_CONFIG);
        assert!(message().contains(key) && message().contains(word), "{}", message());
    }
    let (mut train, mut test) = (null_mut(), null_mut());
    // SAFETY: as above.
    let status = unsafe { fedhds_records_embedded(c"{\"tasks\": -1}".as_ptr(), &mut train, &mut test) };
    assert_eq!(status, FEDHDS_STATUS_CONFIG);
    assert!(message().contains("`tasks`") && message().contains("`-1`"), "{}", message());
    // SAFETY: a text that ends with NUL, a place for the result.
    assert_eq!(unsafe { fedhds_method_new(c"random".as_ptr(), &mut method) }, FEDHDS_STATUS_OK, "{}", message());
    assert_eq!(fedhds_method_free(method), FEDHDS_STATUS_OK);
}

#[test]
fn handles_are_looked_up() {
    let method = method("preset = \"random\"\ncount = { budget = 3 }");
    let mut client = null_mut();
    // SAFETY: places for results are valid; handles are looked up, never followed.
    unsafe {
        assert_eq!(fedhds_client_new(0, null(), 1, 0, &mut client), FEDHDS_STATUS_NULL_POINTER);
        assert_eq!(fedhds_client_new(0, method.cast_const(), 1, 0, null_mut()), FEDHDS_STATUS_NULL_POINTER);
        let foreign: *const fedhds_method_t = std::ptr::without_provenance(7);
        assert_eq!(fedhds_client_new(0, foreign, 1, 0, &mut client), FEDHDS_STATUS_INVALID_HANDLE);
        assert!(client.is_null(), "out-parameters are written on success alone");
        assert_eq!(fedhds_client_new(0, method, 1, 0, &mut client), FEDHDS_STATUS_OK);
        assert_eq!(fedhds_client_new(0, client.cast_const().cast(), 1, 0, &mut client), FEDHDS_STATUS_INVALID_HANDLE);
        assert!(message().contains("expected a fedhds_method_t, got a fedhds_client_t"), "{}", message());
    }
    assert_eq!(fedhds_method_free(method), FEDHDS_STATUS_OK);
    assert_eq!(fedhds_method_free(method), FEDHDS_STATUS_INVALID_HANDLE);
    assert!(message().contains("freed"), "{}", message());
    assert_eq!(fedhds_method_free(null_mut()), FEDHDS_STATUS_OK);
    assert_eq!(fedhds_client_free(client), FEDHDS_STATUS_OK);
}

#[test]
fn a_round_goes_through_bytes() {
    let method = method("{\"preset\": \"stratified\", \"count\": {\"budget\": 5}}");
    let (mut server, mut clients) = (null_mut(), [null_mut(); 2]);
    // SAFETY: every pointer is to a place or buffer of this function's.
    unsafe {
        assert_eq!(fedhds_server_new(method, 1, 9, &mut server), FEDHDS_STATUS_OK);
        let mut start = null_mut();
        assert_eq!(fedhds_server_begin_round(server, 0, [4, 7].as_ptr(), 2, null(), &mut start), FEDHDS_STATUS_OK);
        let start = taken(start);
        let mut kind = 0;
        assert_eq!(fedhds_message_kind(start.as_ptr(), start.len(), &mut kind), FEDHDS_STATUS_OK);
        assert_eq!(kind, 1);
        for (client, number) in clients.iter_mut().zip([4, 7]) {
            assert_eq!(fedhds_client_new(number, method, 1, 9, client), FEDHDS_STATUS_OK);
            let mut summary = null_mut();
            for cut in 0..start.len() {
                let status =
                    fedhds_client_summarize(*client, start.as_ptr(), cut, null(), 10, null(), null(), &mut summary);
                assert_eq!(status, FEDHDS_STATUS_PROTOCOL);
            }
            let status =
                fedhds_client_summarize(*client, start.as_ptr(), start.len(), null(), 10, null(), null(), &mut summary);
            assert_eq!(status, FEDHDS_STATUS_OK, "{}", message());
            let summary = taken(summary);
            assert_eq!(fedhds_server_receive(server, number, summary.as_ptr(), summary.len()), FEDHDS_STATUS_OK);
            assert_eq!(fedhds_server_receive(server, number, summary.as_ptr(), summary.len()), FEDHDS_STATUS_PROTOCOL);
        }
        assert_eq!(fedhds_server_select(server, null()), FEDHDS_STATUS_OK);
        let mut state = null_mut();
        assert_eq!(fedhds_server_state(server, &mut state), FEDHDS_STATUS_OK);
        taken(state);
        let mut chosen = 0;
        for (client, number) in clients.iter().zip([4, 7]) {
            let (mut order, mut records) = (null_mut(), 0);
            assert_eq!(fedhds_server_order(server, number, &mut order, &mut records), FEDHDS_STATUS_OK);
            let order = taken(order);
            let mut rows = [0; 10];
            let mut count = 0;
            let status =
                fedhds_client_choose(*client, order.as_ptr(), order.len(), null(), rows.as_mut_ptr(), 10, &mut count);
            assert_eq!((status, count), (FEDHDS_STATUS_OK, records));
            assert!(rows[..count].windows(2).all(|pair| pair[0] < pair[1]));
            assert_eq!(fedhds_client_mark_trained(*client, rows.as_ptr(), count), FEDHDS_STATUS_OK);
            chosen += count;
        }
        assert_eq!(chosen, 5);
        let mut count = 0;
        assert_eq!(fedhds_server_selection(server, null_mut(), 0, &mut count), FEDHDS_STATUS_OK);
        assert_eq!(count, 2);
    }
    for client in clients {
        assert_eq!(fedhds_client_free(client), FEDHDS_STATUS_OK);
    }
    assert_eq!(fedhds_server_abandon_round(server), FEDHDS_STATUS_OK);
    assert_eq!(fedhds_server_free(server), FEDHDS_STATUS_OK);
    assert_eq!(fedhds_method_free(method), FEDHDS_STATUS_OK);
}

#[test]
fn views_are_checked_before_they_are_read() {
    let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
    let view = |rows, cols, row_stride| fedhds_matrix_view_t { data: values.as_ptr(), rows, cols, row_stride };
    let mut config = std::mem::MaybeUninit::uninit();
    let mut found = null_mut();
    // SAFETY: views lie within `values` wherever they are read.
    unsafe {
        assert_eq!(
            fedhds_kmeans_config_init(config.as_mut_ptr(), size_of::<fedhds_kmeans_config_t>()),
            FEDHDS_STATUS_OK
        );
        let mut config: fedhds_kmeans_config_t = config.assume_init();
        config.n_clusters = 2;
        config.n_init = 1;
        let mut call = |view: &fedhds_matrix_view_t, config: &fedhds_kmeans_config_t| {
            fedhds_kmeans(view, config, 1, null(), &mut found)
        };
        assert_eq!(call(&view(2, 4, 3), &config), FEDHDS_STATUS_INPUT);
        assert_eq!(call(&view(usize::MAX, 4, 4), &config), FEDHDS_STATUS_INPUT);
        assert_eq!(call(&view(usize::MAX, 0, 0), &config), FEDHDS_STATUS_INPUT);
        assert_eq!(call(&view(0, usize::MAX, 0), &config), FEDHDS_STATUS_INPUT);
        assert_eq!(call(&view(1 << 20, 1, usize::MAX / 2), &config), FEDHDS_STATUS_PARAMETER);
        let nothing = fedhds_matrix_view_t { data: null(), rows: 3, cols: 4, row_stride: 0 };
        assert_eq!(call(&nothing, &config), FEDHDS_STATUS_NULL_POINTER);
        let askew = fedhds_matrix_view_t { data: values.as_ptr().byte_add(1), rows: 2, cols: 2, row_stride: 0 };
        assert_eq!(call(&askew, &config), FEDHDS_STATUS_PARAMETER);
        config.struct_size = 4;
        assert_eq!(call(&view(3, 4, 0), &config), FEDHDS_STATUS_PARAMETER);
        config.struct_size = size_of_val(&config) - 4;
        assert_eq!(call(&view(3, 4, 0), &config), FEDHDS_STATUS_PARAMETER);
        // An older program's structure ends before `max_iter`: that field has its default.
        config.max_iter = 0;
        config.struct_size = std::mem::offset_of!(fedhds_kmeans_config_t, max_iter);
        // Rows 0 1, 4 5 and 8 9 of a wider matrix.
        assert_eq!(call(&view(3, 2, 4), &config), FEDHDS_STATUS_OK, "{}", message());
        let (mut labels, mut count) = ([0; 3], 0);
        assert_eq!(fedhds_clustering_labels(found, labels.as_mut_ptr(), 3, &mut count), FEDHDS_STATUS_OK);
        assert_eq!(count, 3);
        assert!(labels.contains(&0) && labels.contains(&1));
        let mut centroids = null_mut();
        assert_eq!(fedhds_clustering_centroids(found, &mut centroids), FEDHDS_STATUS_OK);
        let mut shape = view(0, 0, 0);
        assert_eq!(fedhds_matrix_view(centroids, &mut shape), FEDHDS_STATUS_OK);
        assert_eq!((shape.rows, shape.cols, shape.row_stride), (2, 2, 2));
        assert_eq!(fedhds_matrix_free(centroids), FEDHDS_STATUS_OK);
    }
    assert_eq!(fedhds_clustering_free(found), FEDHDS_STATUS_OK);
}

extern "C" fn halves(
    rows: *const fedhds_rows_t,
    wanted: usize,
    _: u64,
    labels: *mut i32,
    user_data: *mut c_void,
) -> i32 {
    // SAFETY: what the library and the test below promise.
    unsafe {
        let points = (*rows).points;
        assert!((*rows).owners.is_null() && (*rows).scores.is_null() && wanted == 0);
        let calls = &*user_data.cast::<std::sync::atomic::AtomicUsize>();
        calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        for row in 0..points.rows {
            *labels.add(row) = i32::from(*points.data.add(row * points.row_stride) > 0.0);
        }
    }
    0
}

extern "C" fn fails(_: *const fedhds_rows_t, _: usize, _: u64, _: *mut i32, _: *mut c_void) -> i32 {
    3
}

#[test]
fn stages_of_the_callers_own_are_called_and_checked() {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let features: Vec<f32> = (0..8).map(|v| if v % 2 == 0 { v as f32 - 3.5 } else { 1.0 }).collect();
    let view = fedhds_matrix_view_t { data: features.as_ptr(), rows: 4, cols: 2, row_stride: 2 };
    for (clusterer, expected) in [(halves as _, FEDHDS_STATUS_OK), (fails as _, FEDHDS_STATUS_STAGE)] {
        let method = method(
            "preset = \"fedhds_coverage\"\ncount = { budget = 2 }\nclient = { layer_norm = false, min_group_size = 1 }",
        );
        let user_data = std::ptr::from_ref(&calls).cast_mut().cast();
        let (mut server, mut client, mut start, mut summary) = (null_mut(), null_mut(), null_mut(), null_mut());
        // SAFETY: every pointer is to a place or buffer of this function's; `calls` outlives the method.
        unsafe {
            let status = fedhds_method_set_clusterer(method, c"client.clusters".as_ptr(), Some(clusterer), user_data);
            assert_eq!(status, FEDHDS_STATUS_PARAMETER);
            let status = fedhds_method_set_clusterer(method, c"client.clusterer".as_ptr(), None, user_data);
            assert_eq!(status, FEDHDS_STATUS_NULL_POINTER);
            let status = fedhds_method_set_clusterer(method, c"client.clusterer".as_ptr(), Some(clusterer), user_data);
            assert_eq!(status, FEDHDS_STATUS_OK);
            assert_eq!(fedhds_server_new(method, 1, 1, &mut server), FEDHDS_STATUS_OK, "{}", message());
            assert_eq!(fedhds_client_new(0, method, 1, 1, &mut client), FEDHDS_STATUS_OK);
            assert_eq!(fedhds_server_begin_round(server, 0, [0].as_ptr(), 1, null(), &mut start), FEDHDS_STATUS_OK);
            let start = taken(start);
            let status =
                fedhds_client_summarize(client, start.as_ptr(), start.len(), &view, 0, null(), null(), &mut summary);
            assert_eq!(status, expected, "{}", message());
            if expected == FEDHDS_STATUS_STAGE {
                assert!(message().contains("client.clusterer") && message().contains('3'), "{}", message());
                continue;
            }
            taken(summary);
            let (mut labels, mut count) = ([0; 4], 0);
            assert_eq!(fedhds_client_groups(client, labels.as_mut_ptr(), 4, &mut count), FEDHDS_STATUS_OK);
            assert_eq!((labels, count), ([0, 0, 1, 1], 4));
        }
        assert_eq!(fedhds_client_free(client), FEDHDS_STATUS_OK);
        assert_eq!(fedhds_server_free(server), FEDHDS_STATUS_OK);
        assert_eq!(fedhds_method_free(method), FEDHDS_STATUS_OK);
    }
    assert_eq!(calls.into_inner(), 1);
}

#[test]
fn a_cancelled_call_says_so() {
    let mut control = null_mut();
    let features: Vec<f32> = (0..64).map(|v| (v * v % 17) as f32).collect();
    let view = fedhds_matrix_view_t { data: features.as_ptr(), rows: 32, cols: 2, row_stride: 2 };
    let mut reduced = null_mut();
    // SAFETY: every pointer is to a place or buffer of this function's.
    unsafe {
        let mut config = std::mem::MaybeUninit::uninit();
        assert_eq!(fedhds_tsne_config_init(config.as_mut_ptr(), size_of::<fedhds_tsne_config_t>()), FEDHDS_STATUS_OK);
        assert_eq!(fedhds_control_new(&mut control), FEDHDS_STATUS_OK);
        assert_eq!(fedhds_control_cancel(control), FEDHDS_STATUS_OK);
        let status = fedhds_tsne(&view, config.as_ptr(), 1, control, &mut reduced);
        assert_eq!(status, FEDHDS_STATUS_CANCELLED, "{}", message());
    }
    assert_eq!(fedhds_control_free(control), FEDHDS_STATUS_OK);
}

#[test]
fn records_keep_their_rows() {
    let (mut records, mut part, mut count) = (null_mut(), null_mut(), 0);
    // SAFETY: texts end with NUL, places are of this function's.
    unsafe {
        assert_eq!(fedhds_records_new(&mut records), FEDHDS_STATUS_OK);
        for id in [c"a", c"b", c"c"] {
            let status = fedhds_records_add(records, id.as_ptr(), c"Say hi.".as_ptr(), null(), c"hi".as_ptr(), null());
            assert_eq!(status, FEDHDS_STATUS_OK);
        }
        let again = fedhds_records_add(records, c"a".as_ptr(), c"x".as_ptr(), null(), c"y".as_ptr(), null());
        assert_eq!(again, FEDHDS_STATUS_INPUT);
        let broken = [0x80u8, 0];
        let status = fedhds_records_add(records, broken.as_ptr().cast(), c"x".as_ptr(), null(), c"y".as_ptr(), null());
        assert_eq!(status, FEDHDS_STATUS_PARAMETER);
        assert_eq!(fedhds_records_subset(records, [2, 0].as_ptr(), 2, &mut part), FEDHDS_STATUS_OK);
        assert_eq!(fedhds_records_count(part, &mut count), FEDHDS_STATUS_OK);
        assert_eq!(count, 2);
        let mut json = null_mut();
        assert_eq!(fedhds_records_get(part, 0, &mut json), FEDHDS_STATUS_OK);
        assert!(String::from_utf8(taken(json)).unwrap().contains("\"id\":\"c\""));
        assert_eq!(fedhds_records_get(part, 2, &mut json), FEDHDS_STATUS_PARAMETER);
        assert_eq!(fedhds_records_subset(records, [3].as_ptr(), 1, &mut part), FEDHDS_STATUS_PARAMETER);
    }
    assert_eq!(fedhds_records_free(part), FEDHDS_STATUS_OK);
    assert_eq!(fedhds_records_free(records), FEDHDS_STATUS_OK);
}
