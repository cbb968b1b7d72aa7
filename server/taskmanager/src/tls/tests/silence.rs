//! Those who say nothing.

use super::*;

#[tokio::test]
async fn who_says_nothing_holds_up_nobody_and_there_are_not_many_of_them() {
    let authority = Authority::new("ours");
    let (_folder, member) = authority.member(&["blue"]);
    let (incoming, address) = listen(&member).await;
    tokio::spawn(answer(incoming));
    let client = calling(&member);
    let _silent = TcpStream::connect(&address).await.unwrap();
    let heard = say_hello(&address, Arc::clone(&client)).await;
    assert_eq!(heard, Ok("blue".to_owned()));

    let _silent_too = TcpStream::connect(&address).await.unwrap();
    let mut one_too_many = TcpStream::connect(&address).await.unwrap();
    let closed = timeout(LONG, one_too_many.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
}

#[tokio::test]
async fn in_the_clear_who_says_nothing_is_hung_up_on_too_and_there_are_not_many_of_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming = Incoming::new(listener, None, None, LIMITS);
    let mut silent = TcpStream::connect(address).await.unwrap();
    let _silent_too = TcpStream::connect(address).await.unwrap();
    let mut one_too_many = TcpStream::connect(address).await.unwrap();
    let closed = timeout(LONG, one_too_many.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    let closed = timeout(LONG, silent.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)));
    let mut quick = TcpStream::connect(address).await.unwrap();
    quick.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    let mut connection = timeout(LONG, incoming.next()).await.unwrap().unwrap();
    connection.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}
